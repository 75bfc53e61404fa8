import { useState } from 'preact/hooks';

import { useServices } from '../services.js';
import { Dialog } from './dialog.js';
import { Time } from './time.js';

interface Props {
  readonly patient: string;
  readonly onClose: () => void;
  readonly onDone: () => void;
}

/** The server refuses an end that is later, in milliseconds from now. */
const LONGEST_MS = 86_400_000;

/** By so much less the longest time is asked for: the clock here may be ahead of the server's. */
const AHEAD_MS = 60_000;

/** For how long alarms can be kept quiet, in minutes. */
const DURATIONS: readonly (readonly [minutes: number, label: string])[] = [
  [15, '15 minutes'],
  [60, '1 hour'],
  [240, '4 hours'],
  [480, '8 hours'],
  [720, '12 hours'],
  [1440, '24 hours'],
];

/** The server takes no longer reason. */
const REASON_LENGTH = 200;

/** Asks for how long, and why. */
export function SuppressDialog({ patient, onClose, onDone }: Props) {
  const services = useServices();
  const [minutes, setMinutes] = useState(60);
  const [reason, setReason] = useState('');
  const until = (): Date =>
    new Date(Date.now() + Math.min(minutes * 60_000, LONGEST_MS - AHEAD_MS));
  return (
    <Dialog
      title={`Suppress alarms of ${patient}`}
      action="Suppress"
      onClose={onClose}
      onConfirm={async () => {
        await services.api.suppress(patient, until(), reason.trim());
        services.tell(`Alarms of ${patient} are suppressed.`, 'done');
        onDone();
      }}
    >
      <p>Alarms are still raised and kept, but nobody is told of them until the time is over.</p>
      <label class="field">
        For
        <select
          value={String(minutes)}
          onChange={({ currentTarget }) => {
            setMinutes(Number(currentTarget.value));
          }}
        >
          {DURATIONS.map(([value, label]) => (
            <option key={value} value={String(value)}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <p class="hint">
        That is until <Time at={until()} />.
      </p>
      <label class="field">
        Reason, without names or vital signs
        <input
          required
          maxLength={REASON_LENGTH}
          value={reason}
          onInput={({ currentTarget }) => {
            setReason(currentTarget.value);
          }}
        />
      </label>
    </Dialog>
  );
}

/** Asks whether what is usual for the patient is to be learnt anew. */
export function RelearnDialog({ patient, onClose, onDone }: Props) {
  const services = useServices();
  return (
    <Dialog
      title={`Learn a new baseline for ${patient}?`}
      action="Learn anew"
      onClose={onClose}
      onConfirm={async () => {
        await services.api.relearn(patient);
        services.tell(`${patient}: a new baseline is learnt from the next sample on.`, 'done');
        onDone();
      }}
    >
      <p>
        The next samples are taken as usual for this patient, whatever they are. While they are
        learnt from, they have no level and raise no level alarm. The present baseline cannot be
        brought back.
      </p>
    </Dialog>
  );
}
