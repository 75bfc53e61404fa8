import { useMemo, useState } from 'preact/hooks';

import type { LevelPoint, PatientDetail } from '../api/types.js';
import { runsOf, type Run } from '../state/timeline.js';
import { useTimeline } from '../state/use-timeline.js';
import { describeLevel, duration } from '../state/wording.js';
import { ColumnHead, TableHead } from './table-head.js';
import { Time } from './time.js';
import { TimelineChart } from './timeline-chart.js';

/** How much of the time line is shown, in minutes. */
const RANGES: readonly (readonly [minutes: number, label: string])[] = [
  [5, '5 min'],
  [30, '30 min'],
  [120, '2 h'],
  [Infinity, 'All loaded'],
];

/** Runs that the table shows. */
const SHOWN_RUNS = 50;

/** A patient's levels over time: drawn, and as a table. */
export function TimelineSection({ detail }: { detail: PatientDetail }) {
  const { points, problem, loadEarlier } = useTimeline(detail.patient);
  const [minutes, setMinutes] = useState(5);
  const shown = useMemo(() => within(points, minutes), [points, minutes]);
  return (
    <section class="card" aria-labelledby="timeline">
      <div class="card-heading">
        <h2 id="timeline">Levels over time</h2>
        <RangeChoice minutes={minutes} onChange={setMinutes} />
      </div>
      {problem !== '' && <p class="problem">The time line could not be read: {problem}</p>}
      {points.length === 0 ? (
        <p class="empty">No samples yet.</p>
      ) : (
        <>
          <TimelineChart points={shown} detail={detail} />
          <Legend />
          {minutes === Infinity && loadEarlier !== undefined && (
            <button type="button" onClick={loadEarlier}>
              Load earlier samples
            </button>
          )}
          <RunTable points={shown} highestLevel={detail.highestLevel} />
        </>
      )}
    </section>
  );
}

function RangeChoice(props: { minutes: number; onChange: (minutes: number) => void }) {
  return (
    <fieldset class="segments">
      <legend class="visually-hidden">How much of the time line is shown</legend>
      {RANGES.map(([value, label]) => (
        <label key={label}>
          <input
            type="radio"
            name="range"
            checked={value === props.minutes}
            onChange={() => {
              props.onChange(value);
            }}
          />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Legend() {
  return (
    <ul class="legend">
      <li>
        <span class="swatch line" /> level of a sample
      </li>
      <li>
        <span class="swatch alarm" /> level alarm
      </li>
      <li>
        <span class="swatch learning" /> learning
      </li>
      <li>
        <span class="swatch gap" /> gap
      </li>
      <li>
        <span class="swatch baseline" /> new baseline
      </li>
    </ul>
  );
}

function RunTable({
  points,
  highestLevel,
}: {
  points: readonly LevelPoint[];
  highestLevel: number;
}) {
  const [open, setOpen] = useState(false);
  const runs = useMemo(() => (open ? runsOf(points) : []), [open, points]);
  return (
    <details
      onToggle={({ currentTarget }) => {
        setOpen(currentTarget.open);
      }}
    >
      <summary>The same as a table</summary>
      {runs.length > 0 && (
        <table class="stacked" role="table" aria-label="Levels over time, the latest first">
          <TableHead>
            {['From', 'Level', 'Samples', 'For'].map((title) => (
              <ColumnHead key={title}>{title}</ColumnHead>
            ))}
          </TableHead>
          <tbody role="rowgroup">
            {runs.slice(0, SHOWN_RUNS).map((run) => (
              <RunRow key={run.firstSequence} run={run} highestLevel={highestLevel} />
            ))}
          </tbody>
        </table>
      )}
      {runs.length > SHOWN_RUNS && (
        <p class="hint">
          The last {SHOWN_RUNS} of {runs.length} stretches with one level.
        </p>
      )}
    </details>
  );
}

function RunRow({ run, highestLevel }: { run: Run; highestLevel: number }) {
  return (
    <tr role="row">
      <td role="cell" data-label="From">
        <Time at={run.fromMs} />
        {run.afterGap && ' (after a gap)'}
      </td>
      <td role="cell" data-label="Level">
        {describeLevel(run.level, highestLevel)}
      </td>
      <td role="cell" data-label="Samples">
        {run.samples}
      </td>
      <td role="cell" data-label="For">
        {duration(run.toMs - run.fromMs)}
      </td>
    </tr>
  );
}

function within(points: readonly LevelPoint[], minutes: number): readonly LevelPoint[] {
  const last = points.at(-1)?.[1] ?? 0;
  const from = last - minutes * 60_000;
  return points.filter(([, at]) => at >= from);
}
