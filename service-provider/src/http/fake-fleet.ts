/** For tests of the HTTP API and for whoever describes it: a fleet in memory. Not exported. */
import { duoveilError } from '@duoveil/common/errors';
import { parsePatientId, type PatientId } from '@duoveil/common/runtime';

import type { Alarm, AlarmId, Suppression } from '../alarms/alarm.js';
import type {
  AlarmFilter,
  Fleet,
  FleetChange,
  LevelPoint,
  PatientDetail,
  PatientSummary,
} from '../fleet/fleet.js';

/** When everything of the fake fleet was. */
export const FAKE_NOW = new Date('2026-01-31T08:00:00.000Z');

/** A patient's alarm of level 1, active. */
export function fakeAlarm(patient: PatientId, number: number): Alarm {
  return {
    id: `${patient}:${String(number)}` as AlarmId,
    patient,
    cause: { kind: 'level', rule: { level: 1, count: 20, of: 30 } },
    sequence: 90,
    raisedAt: FAKE_NOW,
    clearedAt: undefined,
    acknowledged: undefined,
    escalatedAt: undefined,
    suppressed: false,
  };
}

/** See the file's comment. */
export class FakeFleet implements Fleet {
  readonly #alarms = new Map<AlarmId, Alarm>();
  readonly #suppressions = new Map<PatientId, Suppression>();
  readonly #ids: readonly PatientId[];
  readonly #subscribers = new Set<(change: FleetChange) => void>();
  /** What was done, by whom. */
  readonly acts: string[] = [];

  constructor(count = 2) {
    this.#ids = Array.from({ length: count }, (_, i) =>
      parsePatientId(`patient-${String(i + 1)}`, 'patient'),
    );
    for (const patient of this.#ids) {
      const alarm = fakeAlarm(patient, 1);
      this.#alarms.set(alarm.id, alarm);
    }
  }

  get subscribers(): number {
    return this.#subscribers.size;
  }

  /** Something has happened to a patient. */
  change(patient: PatientId, sequence: number): void {
    const summary = { ...this.#summary(patient), recent: [point(sequence, 1)] };
    for (const tell of this.#subscribers) tell({ summary, changed: [...this.#of(patient)] });
  }

  patients(): Promise<readonly PatientSummary[]> {
    return Promise.resolve(this.#ids.map((id) => this.#summary(id)));
  }

  patient(patient: PatientId): Promise<PatientDetail> {
    return this.#known(patient, () => ({
      ...this.#summary(patient),
      channels: ['HR', 'SpO2'],
      window: 60,
      baseline: 'fixed',
      enrolledAt: FAKE_NOW,
      baselines: [
        {
          ...{ model: 1, throughSequence: 60, trainedAt: FAKE_NOW, trainMs: 12.5 },
          ...{ reason: 'first', by: undefined },
        },
      ],
      history: this.#of(patient),
    }));
  }

  timeline(patient: PatientId, from: number, limit: number): Promise<readonly LevelPoint[]> {
    const through = Math.min(90, from + limit - 1);
    return this.#known(patient, () =>
      Array.from({ length: Math.max(0, through - from + 1) }, (_, i) => point(from + i, 0)),
    );
  }

  alarms(filter: AlarmFilter, limit: number): Promise<readonly Alarm[]> {
    const { patient, active, acknowledged, kind } = filter;
    const passing = [...this.#alarms.values()].filter(
      (alarm) =>
        (patient === undefined || alarm.patient === patient) &&
        (active === undefined || (alarm.clearedAt === undefined) === active) &&
        (acknowledged === undefined || (alarm.acknowledged !== undefined) === acknowledged) &&
        (kind === undefined || alarm.cause.kind === kind),
    );
    return Promise.resolve(passing.slice(0, limit));
  }

  acknowledge(ids: readonly AlarmId[], by: string): Promise<readonly Alarm[]> {
    const alarms = ids.map((id) => this.#alarms.get(id));
    const known = alarms.flatMap((alarm) => alarm ?? []);
    if (known.length < ids.length) {
      return Promise.reject(duoveilError('ALARM_UNKNOWN', 'there is no such alarm'));
    }
    this.acts.push(`acknowledge ${ids.join()} by ${by}`);
    const after = known.map((alarm) => ({ ...alarm, acknowledged: { by, at: FAKE_NOW } }));
    for (const alarm of after) this.#alarms.set(alarm.id, alarm);
    return Promise.resolve(after);
  }

  suppress(patient: PatientId, until: Date, reason: string, by: string): Promise<Suppression> {
    return this.#known(patient, () => {
      this.acts.push(`suppress ${patient} by ${by}`);
      const suppression = { by, at: FAKE_NOW, until, reason };
      this.#suppressions.set(patient, suppression);
      return suppression;
    });
  }

  unsuppress(patient: PatientId, by: string): Promise<void> {
    return this.#known(patient, () => {
      this.acts.push(`unsuppress ${patient} by ${by}`);
      this.#suppressions.delete(patient);
    });
  }

  relearn(patient: PatientId, by: string): Promise<void> {
    return this.#known(patient, () => {
      this.acts.push(`relearn ${patient} by ${by}`);
    });
  }

  async *changes(signal: AbortSignal): AsyncGenerator<FleetChange, void> {
    const queue: FleetChange[] = [];
    let wake = (): void => undefined;
    const tell = (change: FleetChange): void => {
      queue.push(change);
      wake();
    };
    this.#subscribers.add(tell);
    signal.addEventListener('abort', () => {
      wake();
    });
    try {
      while (!isAborted(signal)) {
        yield* queue.splice(0);
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (queue.length > 0 || isAborted(signal)) resolve();
        });
      }
    } finally {
      this.#subscribers.delete(tell);
    }
  }

  #of(patient: PatientId): Alarm[] {
    return [...this.#alarms.values()].filter((alarm) => alarm.patient === patient);
  }

  #summary(patient: PatientId): PatientSummary {
    return {
      patient,
      recent: [point(88, 'learning'), point(89, 'unscorable'), point(90, 1)],
      lastSeen: FAKE_NOW,
      state: 'monitoring',
      highestLevel: 3,
      alarms: this.#of(patient),
      suppression: this.#suppressions.get(patient),
      model: 1,
      pending: 0,
    };
  }

  #known<T>(patient: PatientId, give: () => T): Promise<T> {
    if (this.#ids.includes(patient)) return Promise.resolve(give());
    return Promise.reject(duoveilError('PATIENT_NOT_ENROLLED', 'there is no such patient here'));
  }
}

function point(sequence: number, level: LevelPoint['level']): LevelPoint {
  return { sequence, at: new Date(FAKE_NOW.getTime() + sequence * 1000), level };
}

/** Asked anew: it changes while something is waited for. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
