import { metrics, type Bell, type Clock, type PatientId } from '@duoveil/common/runtime';

import type { Alarm, AlarmPolicy } from '../alarms/alarm.js';
import type { AlarmOutlet, AlarmSource } from '../outlets/outlet.js';
import { EMPTY_BOOK, settled, type BookChange, type Relearning } from '../alarms/book.js';
import { judge } from '../alarms/judgement.js';
import { observationOf, Persistence, type Observation } from '../alarms/persistence.js';
import { silenced, stateOf, telling, toldOf, untold } from '../alarms/telling.js';
import { due } from '../alarms/timing.js';
import type { LevelPoint } from '../fleet/fleet.js';
import type { ChangedBook, Decision, KeptBook, Lease, Store, TimedSample } from '../store/index.js';
import type { MonitorObserver } from './observer.js';

/** What the keeper of a patient's alarms works with. */
export interface KeeperEnvironment {
  /** The right to watch the patient. */
  readonly lease: Lease;
  readonly store: Store;
  readonly clock: Clock;
  readonly policy: AlarmPolicy;
  /** Rung when somebody else has changed the patient's book. */
  readonly books: Bell;
  readonly observer: MonitorObserver | undefined;
  /** Told of the alarms; undefined for nobody. */
  readonly outlet: AlarmOutlet | undefined;
}

/**
 * Raises and clears the alarms of a patient who is watched here. What it goes by follows from the
 * store; what it writes goes there in the same transaction as the decision that it follows from.
 */
export class AlarmKeeper implements AlarmSource {
  readonly #environment: KeeperEnvironment;
  readonly #patient: PatientId;
  readonly #watchedSince: Date;
  #kept: KeptBook = { book: EMPTY_BOOK, order: 0 };
  #heard = -1;
  #persistence: Persistence;
  #decided = 0;
  /** Of the last decided sample. */
  #measuredAt: Date | undefined;
  #lastSeen: Date | undefined;
  #restored = false;
  #ticking = false;
  #closed = false;

  constructor(environment: KeeperEnvironment) {
    this.#environment = environment;
    this.#patient = environment.lease.patient;
    this.#watchedSince = environment.clock.now();
    this.#persistence = new Persistence(environment.policy.levels);
  }

  /** Has somebody else changed the book? */
  get isStale(): boolean {
    return this.#environment.books.count > this.#heard;
  }

  /** What was asked for last, and from where on; of that, the monitor is told before it goes on. */
  get relearning(): Relearning | undefined {
    return this.#kept.book.relearning;
  }

  /** Read everything back from the store, and settle from where on a baseline is learnt anew. */
  async restore(decided: number): Promise<void> {
    const { lease, store } = this.#environment;
    if (!this.#restored) await store.books.begin(lease);
    this.#decided = decided;
    this.#persistence = await this.#folded();
    this.#measuredAt = (await store.samples.times(this.#patient, decided))?.measuredAt;
    const last = await store.samples.last(this.#patient);
    const arrived = (await store.samples.times(this.#patient, last))?.receivedAt;
    this.#lastSeen ??= arrived;
    await this.reload();
    if (this.#isUnsettled) await this.#write((book) => settled(book, decided));
    const tells = this.#environment.outlet !== undefined;
    if (tells !== (this.#kept.book.told !== undefined))
      await this.#write(tells ? telling : silenced);
    this.#restored = true;
  }

  /** The patient is watched here no longer. */
  close(): void {
    this.#closed = true;
  }

  untold(): readonly Alarm[] {
    return this.#closed ? [] : untold(this.#kept.book);
  }

  async told(alarm: Alarm): Promise<void> {
    await this.#write((book) => toldOf(book, alarm.id, stateOf(alarm)));
  }

  /**
   * Read the book anew.
   * @returns whether a baseline is to be learnt anew that was not before
   */
  async reload(): Promise<boolean> {
    const { store, books } = this.#environment;
    this.#heard = books.count;
    try {
      this.#adopt(await store.books.read(this.#patient));
    } catch (error) {
      this.#heard = -1;
      throw error;
    }
    return this.#isUnsettled;
  }

  /** A sample came in. */
  seen(at: Date): void {
    this.#lastSeen = at;
    this.#environment.observer?.seen(this.#patient, at);
  }

  /** What a decision makes of the book; undefined for nothing. */
  changeBy({ sequence, outcome }: Decision, { measuredAt }: TimedSample): BookChange | undefined {
    const { policy, clock } = this.#environment;
    const before = this.#measuredAt;
    return judge(this.#kept.book, policy, {
      patient: this.#patient,
      sequence,
      counts: this.#persistence.after(observationOf(outcome)),
      measured: before && measuredAt && { before, at: measuredAt },
      at: clock.now(),
    });
  }

  /** A decision was stored, with what it made of the book. */
  decided(decision: Decision, sample: TimedSample, changed: ChangedBook | undefined): void {
    const { sequence, outcome } = decision;
    const { measuredAt, receivedAt } = sample;
    this.#persistence.add(observationOf(outcome));
    this.#decided = sequence;
    this.#measuredAt = measuredAt;
    if (changed !== undefined) this.#changed(changed);
    const point = pointOf(decision, measuredAt ?? receivedAt);
    this.#environment.observer?.decided(this.#patient, point);
  }

  /** Do what is due by now. To be called every second or so. */
  async tick(): Promise<void> {
    if (this.#ticking || !this.#restored) return;
    const change = due(this.#kept.book, this.#environment.policy, this.#arrivals, this.#now);
    if (change === undefined) return;
    this.#ticking = true;
    try {
      await this.#write(change);
    } finally {
      this.#ticking = false;
    }
  }

  get #now(): Date {
    return this.#environment.clock.now();
  }

  get #arrivals() {
    return {
      patient: this.#patient,
      lastSeen: this.#lastSeen,
      watchedSince: this.#watchedSince,
      decided: this.#decided,
    };
  }

  get #isUnsettled(): boolean {
    const asked = this.relearning;
    return asked !== undefined && asked.after === undefined;
  }

  async #write(change: BookChange): Promise<void> {
    const { store, lease } = this.#environment;
    this.#changed(await store.books.write(lease, change));
  }

  #changed(changed: ChangedBook): void {
    const { book, before } = changed;
    const raised = book.alarms.slice(before.next - book.next);
    if (book.next > before.next) for (const { cause } of raised) countAlarm(cause);
    this.#adopt(changed);
    this.#environment.observer?.changed(changed);
  }

  /** Several may come at the same time: the newest stays. */
  #adopt(kept: KeptBook): void {
    if (kept.order <= this.#kept.order) return;
    this.#kept = kept;
    if (this.untold().length > 0) this.#environment.outlet?.offer(this);
  }

  /** The last observations, as far back as the rules look. */
  async #folded(): Promise<Persistence> {
    const { store, policy } = this.#environment;
    const longest = Math.max(...policy.levels.map(({ of }) => of));
    const observations: Observation[] = [];
    const enough = (): boolean => observations.length >= longest || observations.includes('anew');
    for await (const page of store.decisions.backwards(this.#patient, longest)) {
      const said = page.map(({ outcome }) => observationOf(outcome));
      observations.push(...said.filter((one) => one !== 'nothing'));
      if (enough()) break;
    }
    const persistence = new Persistence(policy.levels);
    for (const observation of observations.reverse()) persistence.add(observation);
    return persistence;
  }
}

function countAlarm({ kind }: Alarm['cause']): void {
  metrics.alarms.add(1, { 'duoveil.alarm.kind': kind });
}

/** A decision as a strip shows it. */
export function pointOf({ sequence, outcome }: Decision, at: Date): LevelPoint {
  const observed = observationOf(outcome);
  if (observed === 'anew') return { sequence, at, level: 'learning' };
  return { sequence, at, level: observed === 'nothing' ? 'unscorable' : observed };
}
