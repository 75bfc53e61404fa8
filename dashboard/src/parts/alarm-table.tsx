import type { Alarm } from '../api/types.js';
import { patientAddress } from '../routes.js';
import { describeAlarm } from '../state/wording.js';
import { AlarmBadge } from './alarm-badge.js';
import { ColumnHead, TableHead } from './table-head.js';
import { Time } from './time.js';

/** Which alarms are ticked. */
export interface Selection {
  readonly chosen: ReadonlySet<string>;
  readonly onToggle: (alarm: Alarm) => void;
}

interface Props {
  readonly label: string;
  readonly alarms: readonly Alarm[];
  /** Highest level of the patients whose alarms these are, where that is known. */
  readonly highestLevel: (patient: string) => number;
  /** Without it nothing can be ticked. */
  readonly selection?: Selection | undefined;
  /** Leaves the column out that would say the same in each row. */
  readonly withPatient: boolean;
}

/** Alarms with when they were raised, cleared and acknowledged, and by whom. */
export function AlarmTable({ label, alarms, highestLevel, selection, withPatient }: Props) {
  return (
    <table class="stacked alarm-table" role="table" aria-label={label}>
      <TableHead>
        {selection && (
          <ColumnHead>
            <span class="visually-hidden">Selected</span>
          </ColumnHead>
        )}
        <ColumnHead>Alarm</ColumnHead>
        {withPatient && <ColumnHead>Patient</ColumnHead>}
        <ColumnHead>Raised</ColumnHead>
        <ColumnHead>Cleared</ColumnHead>
        <ColumnHead>Acknowledged</ColumnHead>
      </TableHead>
      <tbody role="rowgroup">
        {alarms.map((alarm) => (
          <tr key={alarm.id} role="row">
            {selection && <Tick alarm={alarm} selection={selection} />}
            <td role="cell" class="what">
              <AlarmBadge alarm={alarm} highestLevel={highestLevel(alarm.patient)} />
              <span class="detail">{describeAlarm(alarm, highestLevel(alarm.patient))}</span>
              <Marks alarm={alarm} />
            </td>
            {withPatient && (
              <td role="cell" data-label="Patient">
                <a href={patientAddress(alarm.patient)}>{alarm.patient}</a>
              </td>
            )}
            <td role="cell" data-label="Raised">
              <Time at={alarm.raisedAt} />
            </td>
            <td role="cell" data-label="Cleared">
              {alarm.clearedAt === undefined ? 'still active' : <Time at={alarm.clearedAt} />}
            </td>
            <td role="cell" data-label="Acknowledged">
              <Acknowledged alarm={alarm} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Tick({ alarm, selection }: { alarm: Alarm; selection: Selection }) {
  return (
    <td role="cell" class="tick">
      {alarm.acknowledged === undefined && (
        <input
          type="checkbox"
          aria-label={`Select ${alarm.patient}: ${describeAlarm(alarm)}`}
          checked={selection.chosen.has(alarm.id)}
          onChange={() => {
            selection.onToggle(alarm);
          }}
        />
      )}
    </td>
  );
}

function Marks({ alarm }: { alarm: Alarm }) {
  return (
    <>
      {alarm.escalatedAt !== undefined && (
        <span class="mark">
          escalated <Time at={alarm.escalatedAt} />
        </span>
      )}
      {alarm.suppressed && <span class="mark">raised while suppressed</span>}
    </>
  );
}

function Acknowledged({ alarm: { acknowledged } }: { alarm: Alarm }) {
  if (acknowledged === undefined) return <>not yet</>;
  return (
    <>
      {acknowledged.by}, <Time at={acknowledged.at} />
    </>
  );
}
