/** Made-up patients for the fake server: the same at every run. */
import { seededPrng } from '../../harness/src/simulation/prng.js';

import type {
  Alarm,
  FleetChange,
  LevelPoint,
  PatientDetail,
  PatientSummary,
} from '../src/api/types.js';

/** Samples that a summary shows. */
const RECENT = 60;

/** A patient that can be written to. */
interface FakePatient extends Omit<
  PatientDetail,
  'recent' | 'alarms' | 'lastSeen' | 'suppression' | 'model'
> {
  readonly points: LevelPoint[];
  suppression: PatientDetail['suppression'] | undefined;
  state: PatientDetail['state'];
  lastSeen: string | undefined;
  history: Alarm[];
  baselines: PatientDetail['baselines'];
}

/** All patients of a fake server. */
export class FakeFleet {
  readonly #patients = new Map<string, FakePatient>();
  /** Called with each change. */
  onChange: (change: FleetChange) => void = () => undefined;

  /** Enrol a patient who has been monitored for some samples already, one a second until `endMs`. */
  enrol(patient: string, samples: number, endMs: number, levelAt = calm(patient)): void {
    const startMs = endMs - samples * 1_000;
    const points = Array.from({ length: samples }, (_, i): LevelPoint => {
      return [i + 1, startMs + i * 1_000, i < WINDOW ? -1 : levelAt(i)];
    });
    const trained = new Date(startMs + WINDOW * 1_000).toISOString();
    this.#patients.set(patient, {
      patient,
      points,
      lastSeen: samples === 0 ? undefined : new Date(endMs).toISOString(),
      state: samples === 0 ? 'waiting' : samples <= WINDOW ? 'learning' : 'monitoring',
      highestLevel: 3,
      suppression: undefined,
      pending: 0,
      channels: ['HR', 'PULSE', 'RESP', 'SpO2'],
      window: WINDOW,
      baseline: 'fixed',
      enrolledAt: new Date(startMs - 60_000).toISOString(),
      baselines:
        samples <= WINDOW
          ? []
          : [
              {
                ...{ model: 1, throughSequence: WINDOW, trainedAt: trained },
                ...{ trainMs: 410, reason: 'first' },
              },
            ],
      history: [],
    });
  }

  /** A patient's next sample, a second after the last unless told otherwise. */
  sample(name: string, level: number, atMs?: number): void {
    const patient = this.#get(name);
    const [sequence, at] = patient.points.at(-1) ?? [0, Date.now()];
    patient.points.push([sequence + 1, atMs ?? at + 1_000, level]);
    patient.lastSeen = new Date(atMs ?? Date.now()).toISOString();
    patient.state = level === -1 ? 'learning' : 'monitoring';
    this.#tell(patient, []);
  }

  /** A rolling baseline is learnt anew. */
  train(name: string): void {
    const patient = this.#get(name);
    patient.baselines = [
      ...patient.baselines,
      {
        model: patient.baselines.length + 1,
        throughSequence: patient.points.at(-1)?.[0] ?? 0,
        ...{ trainedAt: new Date().toISOString(), trainMs: 410, reason: 'rolling' },
      },
    ];
    this.#tell(patient, []);
  }

  /** Raise an alarm. */
  raise(name: string, about: Pick<Alarm, 'kind'> & Partial<Alarm>): Alarm {
    const patient = this.#get(name);
    const alarm: Alarm = {
      id: `${name}:${patient.history.length + 1}`,
      patient: name,
      sequence: patient.points.at(-1)?.[0] ?? 0,
      raisedAt: new Date().toISOString(),
      suppressed: false,
      ...about,
    };
    patient.history.unshift(alarm);
    patient.history.sort((a, b) => Date.parse(b.raisedAt) - Date.parse(a.raisedAt));
    if (about.kind === 'silence') patient.state = 'silent';
    this.#tell(patient, [alarm]);
    return alarm;
  }

  /** Change an alarm. */
  change(id: string, what: Partial<Alarm>): Alarm {
    const patient = this.#get(id.slice(0, id.lastIndexOf(':')));
    const at = patient.history.findIndex((alarm) => alarm.id === id);
    const known = patient.history[at];
    if (known === undefined) throw new Error(`there is no alarm ${id}`);
    const changed = { ...known, ...what };
    patient.history[at] = changed;
    this.#tell(patient, [changed]);
    return changed;
  }

  suppress(name: string, suppression: PatientDetail['suppression'] | undefined): void {
    const patient = this.#get(name);
    patient.suppression = suppression;
    this.#tell(patient, []);
  }

  relearn(name: string): void {
    this.sample(name, -1);
  }

  summaries(): PatientSummary[] {
    return [...this.#patients.values()].map(summaryOf);
  }

  /** Undefined where there is none of this name. */
  detail(name: string): PatientDetail | undefined {
    const patient = this.#patients.get(name);
    if (patient === undefined) return undefined;
    const { channels, window, baseline, enrolledAt, baselines, history } = patient;
    return {
      ...summaryOf(patient),
      ...{ channels, window, baseline, enrolledAt, baselines, history },
    };
  }

  timeline(name: string, from: number, limit: number): readonly LevelPoint[] {
    const { points } = this.#get(name);
    return points.filter(([sequence]) => sequence >= from).slice(0, limit);
  }

  alarms(): Alarm[] {
    return [...this.#patients.values()]
      .flatMap(({ history }) => history)
      .sort((a, b) => Date.parse(b.raisedAt) - Date.parse(a.raisedAt));
  }

  #get(name: string): FakePatient {
    const patient = this.#patients.get(name);
    if (patient === undefined) throw new Error(`there is no patient ${name}`);
    return patient;
  }

  #tell(patient: FakePatient, changed: readonly Alarm[]): void {
    this.onChange({ summary: summaryOf(patient), changed });
  }
}

/** A level alarm of the default policy. */
export const RULES: Readonly<Record<1 | 3, NonNullable<Alarm['rule']>>> = {
  1: { level: 1, count: 20, of: 30 },
  3: { level: 3, count: 5, of: 10 },
};

/** Samples of a baseline. */
const WINDOW = 60;

/** Levels of a patient at rest: most are 0. */
export function calm(seed: string): (index: number) => number {
  const prng = seededPrng(Buffer.from(seed).reduce((sum, byte) => (sum * 31 + byte) >>> 0, 7));
  return () => {
    const draw = prng.uniform();
    return draw > 0.995 ? 2 : draw > 0.97 ? 1 : 0;
  };
}

/** Levels that rise from a sample on. */
export function rising(seed: string, onset: number): (index: number) => number {
  const quiet = calm(seed);
  const prng = seededPrng(onset);
  return (index) => {
    const before = quiet(index);
    const reached = Math.min(3, Math.max(0, (index - onset) / 25));
    return Math.max(before, Math.min(3, Math.floor(reached + prng.uniform())));
  };
}

function summaryOf(patient: FakePatient): PatientSummary {
  const { points, history, lastSeen, state, highestLevel, suppression, pending } = patient;
  const model = patient.baselines.at(-1)?.model ?? 0;
  return {
    ...{ patient: patient.patient, recent: points.slice(-RECENT), state, highestLevel, model },
    ...(lastSeen !== undefined && { lastSeen }),
    ...(suppression !== undefined && { suppression }),
    ...(pending !== undefined && { pending }),
    alarms: history.filter(
      ({ suppressed, clearedAt, acknowledged }) =>
        !suppressed && (clearedAt === undefined || acknowledged === undefined),
    ),
  };
}
