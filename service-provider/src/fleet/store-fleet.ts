import { duoveilError } from '@duoveil/common/errors';
import { isPatientId, type Clock, type PatientId } from '@duoveil/common/runtime';

import type { Alarm, AlarmId, Suppression } from '../alarms/alarm.js';
import { acknowledged, isActive, relearning, suppressed, unsuppressed } from '../alarms/book.js';
import type { BookChange } from '../alarms/book.js';
import { pointOf } from '../monitor/alarm-keeper.js';
import type { Monitors } from '../monitor/monitors.js';
import type { ChangedBook, Store } from '../store/index.js';
import { notEnrolled, type FleetView, type ViewedPatient } from './fleet-view.js';
import type {
  AlarmFilter,
  BaselineNotice,
  Fleet,
  FleetChange,
  LevelPoint,
  PatientDetail,
  PatientSummary,
} from './fleet.js';

/** Baselines that a patient's page shows. */
const BASELINES = 100;

/** The most points of a time line that are given at once. */
const MAX_POINTS = 5_000;

/** The longest suppression, in milliseconds: a day. */
const MAX_SUPPRESSION_MS = 86_400_000;

const MAX_REASON = 200;
const MAX_NAME = 128;

/** What the fleet works with. */
export interface FleetEnvironment {
  readonly store: Store;
  readonly view: FleetView;
  readonly monitors: Pick<Monitors, 'pending' | 'bookChanged'>;
  readonly clock: Clock;
}

/** The fleet of a service provider, whichever replica watches a patient. */
export class StoreFleet implements Fleet {
  readonly #environment: FleetEnvironment;

  constructor(environment: FleetEnvironment) {
    this.#environment = environment;
  }

  async patients(): Promise<readonly PatientSummary[]> {
    return (await this.#environment.view.all()).map((viewed) => this.#summary(viewed));
  }

  async patient(patient: PatientId): Promise<PatientDetail> {
    const { store, view } = this.#environment;
    const viewed = await view.of(patient);
    const { schema, policy } = viewed.patient;
    const enrolledAt = await store.patients.enrolledAt(patient);
    if (enrolledAt === undefined) throw notEnrolled();
    const records = await store.models.records(patient, BASELINES);
    return {
      ...this.#summary(viewed),
      channels: schema.channels.map(({ name }) => name),
      window: policy.window,
      baseline: policy.baseline,
      enrolledAt,
      baselines: records
        .map(({ number, ...record }): BaselineNotice => ({ model: number, ...record }))
        .reverse(),
      history: [...viewed.kept.book.alarms].reverse(),
    };
  }

  async timeline(
    patient: PatientId,
    fromSequence: number,
    limit: number,
  ): Promise<readonly LevelPoint[]> {
    requireWithin('from', fromSequence, Number.MAX_SAFE_INTEGER);
    requireWithin('limit', limit, MAX_POINTS);
    const { store, view } = this.#environment;
    await view.of(patient);
    const decisions = await store.decisions.timeline(patient, fromSequence, limit);
    return decisions.map((decision) => pointOf(decision, decision.at));
  }

  async alarms(filter: AlarmFilter, limit: number): Promise<readonly Alarm[]> {
    requireWithin('limit', limit, Number.MAX_SAFE_INTEGER);
    const { view } = this.#environment;
    const { patient } = filter;
    const among = patient === undefined ? await view.all() : [await view.of(patient)];
    return among
      .flatMap(({ kept }) => kept.book.alarms.filter((alarm) => passes(alarm, filter)))
      .sort((a, b) => b.raisedAt.getTime() - a.raisedAt.getTime())
      .slice(0, limit);
  }

  async acknowledge(ids: readonly AlarmId[], by: string): Promise<readonly Alarm[]> {
    const act = this.#act(by);
    const byPatient = new Map<PatientId, AlarmId[]>();
    for (const id of ids) {
      const patient = patientOf(id);
      byPatient.set(patient, [...(byPatient.get(patient) ?? []), id]);
    }
    const changes = [...byPatient].map(([patient, some]): [PatientId, BookChange] => [
      patient,
      (book) => {
        const known = new Set(book.alarms.map(({ id }) => id));
        for (const id of some) if (!known.has(id)) throw unknownAlarm(id);
        return some.reduce((changed, id) => acknowledged(changed, id, act), book);
      },
    ]);
    const changed = await this.#change(new Map(changes));
    const alarms = changed.flatMap(({ book }) => book.alarms);
    return ids.flatMap((id) => alarms.find((alarm) => alarm.id === id) ?? []);
  }

  async suppress(
    patient: PatientId,
    until: Date,
    reason: string,
    by: string,
  ): Promise<Suppression> {
    const suppression = {
      ...this.#act(by),
      until,
      reason: requireText('reason', reason, MAX_REASON),
    };
    const ms = until.getTime() - suppression.at.getTime();
    if (!(ms > 0 && ms <= MAX_SUPPRESSION_MS)) {
      throw invalid('until', 'must be in the future, and within 24 hours');
    }
    await this.#changeOne(patient, (book) => suppressed(book, suppression));
    return suppression;
  }

  async unsuppress(patient: PatientId, by: string): Promise<void> {
    this.#act(by);
    await this.#changeOne(patient, unsuppressed);
  }

  async relearn(patient: PatientId, by: string): Promise<void> {
    const asked = { ...this.#act(by), after: undefined, reason: 'operator' } as const;
    await this.#changeOne(patient, (book) => relearning(book, asked));
  }

  changes(signal: AbortSignal): AsyncIterable<FleetChange> {
    // At once: nothing is missed until the first one is asked for.
    return this.#changes(this.#environment.view.changes(signal));
  }

  async *#changes(changes: ReturnType<FleetView['changes']>): AsyncGenerator<FleetChange, void> {
    for await (const { viewed, changed } of changes) {
      yield { summary: this.#summary(viewed), changed };
    }
  }

  #summary(viewed: ViewedPatient): PatientSummary {
    const { view, monitors } = this.#environment;
    return { ...view.summaryOf(viewed), pending: monitors.pending(viewed.patient.id) };
  }

  async #changeOne(patient: PatientId, change: BookChange): Promise<void> {
    await this.#environment.view.of(patient);
    await this.#change(new Map([[patient, change]]));
  }

  async #change(changes: ReadonlyMap<PatientId, BookChange>): Promise<readonly ChangedBook[]> {
    const { store, view, monitors } = this.#environment;
    const changed = await store.books.change(changes);
    for (const one of changed) {
      view.changed(one);
      monitors.bookChanged(one.patient);
    }
    return changed;
  }

  #act(by: string): { readonly by: string; readonly at: Date } {
    return { by: requireText('by', by, MAX_NAME), at: this.#environment.clock.now() };
  }
}

function passes(alarm: Alarm, { active, acknowledged: wanted, kind }: AlarmFilter): boolean {
  return (
    (active === undefined || isActive(alarm) === active) &&
    (wanted === undefined || (alarm.acknowledged !== undefined) === wanted) &&
    (kind === undefined || alarm.cause.kind === kind)
  );
}

/** The patient in an alarm's name. */
function patientOf(id: AlarmId): PatientId {
  const patient = id.slice(0, Math.max(id.lastIndexOf(':'), 0));
  if (!isPatientId(patient)) throw unknownAlarm(id);
  return patient;
}

function unknownAlarm(id: AlarmId): Error {
  return duoveilError('ALARM_UNKNOWN', `there is no alarm ${id}`);
}

function requireWithin(field: string, value: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return;
  throw invalid(field, `must be a whole number from 1 to ${String(most)}`);
}

function requireText(field: string, text: string, most: number): string {
  if (text.length >= 1 && text.length <= most && !/\p{Cc}/u.test(text)) return text;
  throw invalid(field, `must have 1 to ${String(most)} characters, and no control characters`);
}

function invalid(field: string, what: string): Error {
  return duoveilError('MESSAGE_INVALID', `${field} ${what}`, { field });
}
