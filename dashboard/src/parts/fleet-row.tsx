import { memo } from './memo.js';
import type { PatientSummary } from '../api/types.js';
import { patientAddress } from '../routes.js';
import { mostUrgentFirst } from '../state/ranking.js';
import { STATES } from '../state/wording.js';
import { AlarmBadge } from './alarm-badge.js';
import { Level } from './level.js';
import { Strip } from './strip.js';
import { Time } from './time.js';

/** Badges that a row has room for. */
const SHOWN_ALARMS = 2;

interface Props {
  readonly summary: PatientSummary;
  /** The row's place in the whole list, from 0. */
  readonly index: number;
  /** Where it lies below the list's top, in pixels. */
  readonly top: number;
}

/** One patient as a row; drawn again only when something of it has changed. */
export const FleetRow = memo(function FleetRow({ summary, index, top }: Props) {
  const { patient, recent, lastSeen, highestLevel } = summary;
  return (
    <tr role="row" aria-rowindex={index + 2} style={{ transform: `translateY(${top}px)` }}>
      <th role="rowheader" scope="row" class="patient">
        <a href={patientAddress(patient)}>{patient}</a>
      </th>
      <td role="cell" class="now">
        <LevelNow summary={summary} />
      </td>
      <td role="cell" class="recent">
        <Strip recent={recent} highestLevel={highestLevel} />
      </td>
      <td role="cell" class="seen">
        {lastSeen === undefined ? '–' : <Time at={lastSeen} />}
      </td>
      <td role="cell" class="alarms">
        <Badges summary={summary} />
      </td>
    </tr>
  );
});

/** The last sample's level, or why there is none. */
export function LevelNow({ summary }: { summary: PatientSummary }) {
  const { state, recent, highestLevel } = summary;
  const level = recent.at(-1)?.[2];
  if (state === 'waiting' || level === undefined)
    return <span class="level none">{STATES.waiting}</span>;
  if (state === 'silent') return <span class="level none">{STATES.silent}</span>;
  return <Level level={level} highestLevel={highestLevel} />;
}

function Badges({ summary }: { summary: PatientSummary }) {
  const { alarms, suppression, highestLevel } = summary;
  const more = alarms.length - SHOWN_ALARMS;
  return (
    <>
      {suppression !== undefined && (
        <span class="badge quiet">
          Suppressed until <Time at={suppression.until} />
        </span>
      )}
      {mostUrgentFirst(summary)
        .slice(0, SHOWN_ALARMS)
        .map((alarm) => (
          <AlarmBadge key={alarm.id} alarm={alarm} highestLevel={highestLevel} />
        ))}
      {more > 0 && <span class="more">and {more} more</span>}
    </>
  );
}
