import { duoveilError } from '@duoveil/common/errors';
import type { PatientId } from '@duoveil/common/runtime';

import type { Alarm } from '../alarms/alarm.js';
import { changedAlarms, EMPTY_BOOK, isActive, isOpen, suppressionAt } from '../alarms/book.js';
import { pointOf } from '../monitor/alarm-keeper.js';
import type { MonitorObserver } from '../monitor/observer.js';
import type { ChangedBook, KeptBook, News, Patient, Store } from '../store/index.js';
import type { LevelPoint, PatientSummary } from './fleet.js';
import { Subscription } from './subscription.js';

/** Samples of a strip. */
const RECENT = 60;

/** Patients who are read from the store at once. */
const AT_ONCE = 8;

/** What is known of a patient without asking the store. */
export interface ViewedPatient {
  readonly patient: Patient;
  recent: readonly LevelPoint[];
  lastSeen: Date | undefined;
  /** The number of the last baseline; 0 before the first. */
  model: number;
  kept: KeptBook;
}

/** A patient of whom something has changed. */
export interface ViewChange {
  readonly viewed: ViewedPatient;
  readonly changed: readonly Alarm[];
}

interface Entry extends ViewedPatient {
  /** Is it as the store has it? Else it is read when somebody asks. */
  fresh: boolean;
  loading: Promise<void> | undefined;
}

/**
 * What operators see of every patient, in memory: read from the store when somebody asks for the first
 * time, then kept by what this process decides, and read again after other processes' news.
 */
export class FleetView implements MonitorObserver {
  readonly #store: Store;
  readonly #now: () => Date;
  readonly #entries = new Map<PatientId, Entry>();
  readonly #here = new Set<PatientId>();
  readonly #subscriptions = new Set<Subscription>();

  constructor(store: Store, now: () => Date) {
    this.#store = store;
    this.#now = now;
  }

  watching(patient: Patient): void {
    this.#here.add(patient.id);
    // What was decided elsewhere before may not have been heard of yet.
    this.#entryOf(patient).fresh = false;
  }

  left(patient: PatientId): void {
    this.#here.delete(patient);
    this.#forget(patient);
  }

  seen(patient: PatientId, at: Date): void {
    const entry = this.#entries.get(patient);
    if (entry !== undefined) entry.lastSeen = at;
  }

  decided(patient: PatientId, point: LevelPoint): void {
    const entry = this.#entries.get(patient);
    if (entry !== undefined) append(entry, point);
    this.#publish(patient, []);
  }

  trained(patient: PatientId, model: number): void {
    const entry = this.#entries.get(patient);
    if (entry !== undefined) entry.model = model;
    this.#publish(patient, []);
  }

  changed({ patient, before, book, order }: ChangedBook): void {
    const entry = this.#entries.get(patient);
    if (entry !== undefined && order > entry.kept.order) entry.kept = { book, order };
    const changed = changedAlarms(before, book);
    const asked = before.suppression !== book.suppression || before.relearning !== book.relearning;
    if (asked || changed.length > 0) this.#publish(patient, changed);
  }

  news(patient: PatientId | undefined, news: News): void {
    for (const one of patient === undefined ? this.#entries.keys() : [patient]) {
      // What is decided here is known; what operators do elsewhere is not.
      if (news === 'progress' && this.#here.has(one)) continue;
      this.#forget(one);
      this.#publish(one, []);
    }
  }

  /**
   * All patients, as they are now.
   * @throws DuoveilError as the store does
   */
  async all(): Promise<readonly ViewedPatient[]> {
    const ids = await this.#store.patients.all();
    const viewed: ViewedPatient[] = [];
    for (let i = 0; i < ids.length; i += AT_ONCE) {
      const some = ids.slice(i, i + AT_ONCE);
      viewed.push(...(await Promise.all(some.map((id) => this.of(id)))));
    }
    return viewed;
  }

  /**
   * One patient, as they are now.
   * @throws DuoveilError `PATIENT_NOT_ENROLLED`
   */
  async of(id: PatientId): Promise<ViewedPatient> {
    let entry = this.#entries.get(id);
    if (entry === undefined) {
      const patient = await this.#store.patients.find(id);
      if (patient === undefined) throw notEnrolled();
      entry = this.#entryOf(patient);
    }
    if (!entry.fresh) await this.#load(entry);
    return entry;
  }

  /** What operators see of a patient, but for what waits. */
  summaryOf(viewed: ViewedPatient): Omit<PatientSummary, 'pending'> {
    const { patient, recent, lastSeen, model, kept } = viewed;
    const { id, policy } = patient;
    const { book } = kept;
    return {
      patient: id,
      recent,
      lastSeen,
      state: stateOf(viewed),
      highestLevel: 1 + policy.higherThresholdsScaled.length,
      alarms: book.alarms.filter(isOpen).reverse(),
      suppression: suppressionAt(book, this.#now()),
      model,
    };
  }

  /** Changes from now on, until the signal is aborted. */
  changes(signal: AbortSignal): AsyncGenerator<ViewChange, void> {
    const subscription = new Subscription();
    this.#subscriptions.add(subscription);
    const end = (): void => {
      this.#subscriptions.delete(subscription);
    };
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    return this.#follow(subscription, signal, end);
  }

  async *#follow(
    subscription: Subscription,
    signal: AbortSignal,
    end: () => void,
  ): AsyncGenerator<ViewChange, void> {
    try {
      for (;;) {
        const patient = await subscription.next(signal);
        if (patient === undefined) return;
        // To read it from the store may show what else has changed.
        const viewed = await this.of(patient);
        yield { viewed, changed: subscription.take(patient) };
      }
    } finally {
      signal.removeEventListener('abort', end);
      end();
    }
  }

  #publish(patient: PatientId, changed: readonly Alarm[]): void {
    for (const subscription of this.#subscriptions) subscription.add(patient, changed);
  }

  #entryOf(patient: Patient): Entry {
    let entry = this.#entries.get(patient.id);
    if (entry === undefined) {
      const kept = { book: EMPTY_BOOK, order: 0 };
      const nothing = { recent: [], lastSeen: undefined, model: 0, kept };
      entry = { patient, ...nothing, fresh: false, loading: undefined };
      this.#entries.set(patient.id, entry);
    }
    return entry;
  }

  #forget(patient: PatientId): void {
    const entry = this.#entries.get(patient);
    if (entry !== undefined) entry.fresh = false;
  }

  #load(entry: Entry): Promise<void> {
    entry.loading ??= this.#read(entry).finally(() => {
      entry.loading = undefined;
    });
    return entry.loading;
  }

  async #read(entry: Entry): Promise<void> {
    // Whatever comes in from here on makes it stale again.
    entry.fresh = true;
    const { id } = entry.patient;
    const { decisions, samples, models, books } = this.#store;
    try {
      const kept = await books.read(id);
      const latest = await decisions.latest(id, RECENT);
      const last = await samples.times(id, await samples.last(id));
      const model = await models.last(id);
      entry.recent = latest.map((decision) => pointOf(decision, decision.at));
      entry.lastSeen = last?.receivedAt;
      // One may have been learnt here meanwhile.
      entry.model = Math.max(entry.model, model);
      if (kept.order <= entry.kept.order) return;
      const before = entry.kept;
      entry.kept = kept;
      // The first time there is nothing to compare with.
      if (before.order > 0) this.#publish(id, changedAlarms(before.book, kept.book));
    } catch (error) {
      entry.fresh = false;
      throw error;
    }
  }
}

/** The error for a patient who is not there. */
export function notEnrolled(): Error {
  return duoveilError('PATIENT_NOT_ENROLLED', 'this patient is not enrolled');
}

/** One more sample, where it is the next one; else all is read again. */
function append(entry: Entry, point: LevelPoint): void {
  const last = entry.recent.at(-1)?.sequence ?? 0;
  if (entry.loading !== undefined || point.sequence !== last + 1) entry.fresh = false;
  else entry.recent = [...entry.recent.slice(1 - RECENT), point];
}

function stateOf({ recent, lastSeen, kept: { book } }: ViewedPatient): PatientSummary['state'] {
  if (lastSeen === undefined) return 'waiting';
  if (book.alarms.some((one) => isActive(one) && one.cause.kind === 'silence')) return 'silent';
  const last = recent.findLast(({ level }) => level !== 'unscorable');
  const anew = book.relearning !== undefined && (book.relearning.after ?? Infinity);
  const isLearnt = last !== undefined && last.level !== 'learning';
  return isLearnt && (anew === false || anew < last.sequence) ? 'monitoring' : 'learning';
}
