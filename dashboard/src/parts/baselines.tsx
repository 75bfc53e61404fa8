import type { BaselineNotice } from '../api/types.js';
import { describeReason } from '../state/wording.js';
import { ColumnHead, TableHead } from './table-head.js';
import { Time } from './time.js';

/** Baselines that are listed. */
const SHOWN = 10;

/** When baselines were learnt and why, the last one first. */
export function Baselines({ baselines }: { baselines: readonly BaselineNotice[] }) {
  const latest = [...baselines].sort((a, b) => b.model - a.model).slice(0, SHOWN);
  return (
    <section class="card" aria-labelledby="baselines">
      <h2 id="baselines">Baselines</h2>
      {latest.length === 0 ? (
        <p class="empty">The first one is not learnt yet.</p>
      ) : (
        <table class="stacked" role="table" aria-label="Baselines">
          <TableHead>
            {['Baseline', 'Learnt', 'Through sample', 'Why'].map((title) => (
              <ColumnHead key={title}>{title}</ColumnHead>
            ))}
          </TableHead>
          <tbody role="rowgroup">
            {latest.map((notice) => (
              <tr key={notice.model} role="row">
                <td role="cell" data-label="Baseline">
                  {notice.model}
                </td>
                <td role="cell" data-label="Learnt">
                  <Time at={notice.trainedAt} />
                </td>
                <td role="cell" data-label="Through sample">
                  {notice.throughSequence.toLocaleString()}
                </td>
                <td role="cell" data-label="Why">
                  {describeReason(notice)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {baselines.length > latest.length && (
        <p class="hint">
          The last {latest.length} of {baselines.length}.
        </p>
      )}
    </section>
  );
}
