import { useState } from 'preact/hooks';

import { describeError } from '../api/api-error.js';
import type { PatientSummary } from '../api/types.js';
import { useMay, useServices } from '../services.js';
import { mostUrgentFirst, unacknowledged } from '../state/ranking.js';
import { AlarmBadge } from './alarm-badge.js';
import { RelearnDialog, SuppressDialog } from './patient-dialogs.js';
import { Time } from './time.js';

interface Props {
  readonly summary: PatientSummary;
  /** Read the patient again, after something was done. */
  readonly reload: () => void;
}

/** A patient's open alarms and suppression, with what an operator can do about them. */
export function PatientActions({ summary, reload }: Props) {
  const services = useServices();
  const mayAct = useMay('operator');
  const [dialog, setDialog] = useState<'suppress' | 'relearn'>();
  const { patient, suppression, alarms, highestLevel } = summary;
  const open = unacknowledged(alarms);

  const act = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
      services.tell(what, 'done');
      reload();
    } catch (error) {
      services.tell(`That did not work: ${describeError(error)}`, 'problem');
    }
  };
  const close = (): void => {
    setDialog(undefined);
  };

  return (
    <div class="patient-actions">
      <div class="standing">
        {alarms.length === 0 && suppression === undefined && <span>No alarm.</span>}
        {mostUrgentFirst(summary).map((alarm) => (
          <AlarmBadge key={alarm.id} alarm={alarm} highestLevel={highestLevel} />
        ))}
        {suppression !== undefined && (
          <span class="badge quiet">
            Suppressed by {suppression.by} until <Time at={suppression.until} />:{' '}
            {suppression.reason}
          </span>
        )}
      </div>
      {mayAct && (
        <div class="actions">
          {open.length > 0 && (
            <button
              type="button"
              class="primary"
              onClick={() =>
                void act('Acknowledged.', () => services.api.acknowledge(open.map(({ id }) => id)))
              }
            >
              Acknowledge {open.length === 1 ? 'the alarm' : `${open.length} alarms`}
            </button>
          )}
          {suppression === undefined ? (
            <button
              type="button"
              onClick={() => {
                setDialog('suppress');
              }}
            >
              Suppress alarms …
            </button>
          ) : (
            <button
              type="button"
              onClick={() =>
                void act('Alarms are no longer suppressed.', () => services.api.unsuppress(patient))
              }
            >
              End the suppression
            </button>
          )}
          <button
            type="button"
            onClick={() => {
              setDialog('relearn');
            }}
          >
            Learn a new baseline …
          </button>
        </div>
      )}
      {dialog === 'suppress' && (
        <SuppressDialog patient={patient} onClose={close} onDone={reload} />
      )}
      {dialog === 'relearn' && <RelearnDialog patient={patient} onClose={close} onDone={reload} />}
    </div>
  );
}
