import {
  metrics,
  type Clock,
  type Logger,
  type PatientId,
  type Sleep,
} from '@duoveil/common/runtime';

import type { AlarmPolicy } from '../alarms/alarm.js';
import { elsewhere, type Lease, type Store } from '../store/index.js';
import type { AlarmOutlet } from '../outlets/outlet.js';
import { AlarmKeeper } from './alarm-keeper.js';
import { Backlog } from './backlog.js';
import type { MonitorObserver } from './observer.js';
import { PatientMonitor } from './patient-monitor.js';
import { Patients, type Watched } from './patients.js';
import type { SuiteFactory } from './suite.js';

/** A patient who is watched by this process. */
export interface Owned {
  readonly watched: Watched;
  readonly lease: Lease;
  /** What waits for a decision, for metrics and traces. */
  readonly backlog: Backlog;
  readonly alarms: AlarmKeeper;
}

interface Running extends Owned {
  readonly stop: AbortController;
  /** Resolves when the monitor has ended; never rejects. */
  readonly ended: Promise<void>;
}

/** What the monitors work with. */
export interface MonitorsOptions {
  readonly store: Store;
  readonly suiteOf: SuiteFactory;
  /** When alarms are raised. */
  readonly alarms: AlarmPolicy;
  /** Told what is done; may be left out. */
  readonly observer?: MonitorObserver;
  /** Told of alarms; may be left out. */
  readonly outlet?: AlarmOutlet | undefined;
  readonly clock: Clock;
  readonly sleep: Sleep;
  readonly logger: Logger;
  /** How long a lease lasts that is not renewed; it is renewed three times as often. */
  readonly leaseMs: number;
  /** Ends all monitors, each after the step that it is at. */
  readonly stop: AbortSignal;
}

/** Patients without an owner that are taken over at once. */
const ADOPTED_AT_ONCE = 256;

/** How often an owner is asked again to hand a patient over, in milliseconds. */
const CLAIM_AGAIN_MS = 200;

/**
 * The monitors of the patients that this process owns. Several processes may share a database: each
 * patient is watched by one of them, the one that has the lease. Whoever has the gateway's stream
 * claims the patient; whoever sees a patient without an owner takes them. Different patients are worked on
 * concurrently.
 */
export class Monitors {
  readonly #options: MonitorsOptions;
  readonly #patients: Patients;
  readonly #running = new Map<PatientId, Running>();
  readonly #beginning = new Map<PatientId, Promise<Running | undefined>>();
  readonly #ending = new Set<Promise<void>>();
  #keeping: Promise<void> = Promise.resolve();

  constructor(options: MonitorsOptions) {
    this.#options = options;
    this.#patients = new Patients(options.store, options.suiteOf, options.observer);
    this.#observe();
  }

  /** Take the patients that nobody has, and keep the leases from then on. */
  async start(): Promise<void> {
    await this.#tendOrTell();
    this.#keeping = this.#keep();
  }

  /**
   * A patient, whoever watches them.
   * @throws DuoveilError `PATIENT_NOT_ENROLLED`
   */
  of(patient: PatientId): Promise<Watched> {
    return this.#patients.of(patient);
  }

  /**
   * Watch a patient here. Another owner is asked to hand them over, and has the time of a lease to do
   * so: one that is gone, or stalled, has lost them by then.
   * @throws DuoveilError `PATIENT_NOT_ENROLLED`, `PATIENT_ELSEWHERE`; the signal's reason
   */
  async own(patient: PatientId, signal: AbortSignal): Promise<Owned> {
    const { clock, sleep, leaseMs } = this.#options;
    const until = clock.monotonicMs() + leaseMs + 2_000;
    for (;;) {
      const owned = await this.#begin(patient, true);
      if (owned !== undefined) return owned;
      if (clock.monotonicMs() > until) throw elsewhere();
      await sleep(CLAIM_AGAIN_MS, signal);
    }
  }

  /** Samples of a patient that wait for a decision; undefined where the patient is not watched here. */
  pending(patient: PatientId): number | undefined {
    return this.#running.get(patient)?.backlog.size;
  }

  /** An operator has changed a patient's book of alarms at this process. */
  bookChanged(patient: PatientId): void {
    this.#patients.ring(patient, 'book');
  }

  /** Resolves when every monitor has ended, and its patient is free for others. */
  async stopped(): Promise<void> {
    await this.#keeping;
    for (const running of this.#running.values()) this.#handOver(running);
    await Promise.all(this.#ending);
  }

  #observe(): void {
    const backlogs = () => [...this.#running.values()].map(({ backlog }) => backlog);
    const ends = [
      metrics.patients.observe((report) => {
        report(this.#running.size);
      }),
      metrics.pending.observe((report) => {
        report(backlogs().reduce((sum, { size }) => sum + size, 0));
      }),
      metrics.lag.observe((report) => {
        report(Math.max(0, ...backlogs().map(({ lagMs }) => lagMs)) / 1000);
      }),
    ];
    const end = (): void => {
      for (const unobserve of ends) unobserve();
    };
    this.#options.stop.addEventListener('abort', end, { once: true });
  }

  async #keep(): Promise<void> {
    const { sleep, leaseMs, stop } = this.#options;
    while (!stop.aborted) {
      await sleep(leaseMs / 3, stop).catch(() => undefined);
      if (isAborted(stop)) return;
      await this.#tendOrTell();
      for (const running of this.#running.values()) this.#tick(running);
    }
  }

  /** A patient's alarms that time raises, clears or escalates: tried again the next time. */
  #tick({ alarms, lease }: Running): void {
    const ticking = alarms
      .tick()
      .catch((error: unknown) => {
        const { logger } = this.#options;
        logger.warn('alarms could not be kept', { error, patient: lease.patient });
      })
      .finally(() => {
        this.#ending.delete(ticking);
      });
    this.#ending.add(ticking);
  }

  /** A database that does not answer is tried again in its time: the leases may have gone by then. */
  async #tendOrTell(): Promise<void> {
    await this.#tend().catch((error: unknown) => {
      this.#options.logger.warn('the leases could not be renewed', { error });
    });
  }

  /** Renew the leases, hand over what was lost or is claimed, take what nobody has. */
  async #tend(): Promise<void> {
    const { store } = this.#options;
    const before = [...this.#running.values()];
    const renewed = await store.leases.renew();
    const epochs = new Map(renewed.map(({ patient, epoch }) => [patient, epoch]));
    for (const running of before) {
      if (epochs.get(running.lease.patient) !== running.lease.epoch) this.#handOver(running);
    }
    // Handed over to this process, whose call has ended before.
    const given = renewed.map(({ patient }) => patient).filter((one) => !this.#running.has(one));
    const free = await store.leases.free(ADOPTED_AT_ONCE);
    await Promise.all([...given, ...free].map((patient) => this.#begin(patient, false)));
  }

  /** @returns undefined where another process has the patient */
  #begin(patient: PatientId, claim: boolean): Promise<Running | undefined> {
    const running = this.#running.get(patient);
    if (running !== undefined) return Promise.resolve(running);
    let beginning = this.#beginning.get(patient);
    if (beginning === undefined) {
      beginning = this.#acquire(patient, claim).finally(() => {
        this.#beginning.delete(patient);
      });
      this.#beginning.set(patient, beginning);
    }
    return beginning;
  }

  async #acquire(patient: PatientId, claim: boolean): Promise<Running | undefined> {
    const watched = await this.#patients.of(patient);
    const lease = await this.#options.store.leases.acquire(patient, claim);
    return lease && this.#run(watched, lease);
  }

  #run(watched: Watched, lease: Lease): Running {
    const { store, clock, sleep, logger, observer, outlet } = this.#options;
    const { patient, suite, arrivals, progress, books } = watched;
    const backlog = new Backlog(clock);
    const policy = this.#options.alarms;
    const alarms = new AlarmKeeper({ lease, store, clock, policy, books, observer, outlet });
    const monitor = new PatientMonitor(patient, suite, {
      lease,
      store,
      clock,
      sleep,
      logger: logger.child({ patient: patient.id }),
      arrivals,
      progress,
      backlog,
      alarms,
      observer,
    });
    const stop = new AbortController();
    const ended = monitor.run(stop.signal).finally(() => {
      if (this.#running.get(patient.id) === running) this.#leave(patient.id);
    });
    const running: Running = { watched, lease, backlog, alarms, stop, ended };
    this.#running.set(patient.id, running);
    observer?.watching(patient);
    return running;
  }

  #leave(patient: PatientId): void {
    this.#running.get(patient)?.alarms.close();
    this.#running.delete(patient);
    this.#options.observer?.left(patient);
  }

  /** End a monitor, and let its patient go. */
  #handOver(running: Running): void {
    const { lease, stop, ended } = running;
    // From here on the patient may be taken anew, also by this process, with a lease of its own.
    if (this.#running.get(lease.patient) === running) this.#leave(lease.patient);
    stop.abort();
    const ending = ended
      .then(() => this.#options.store.leases.release(lease))
      .catch((error: unknown) => {
        this.#options.logger.warn('a lease was not given back: it expires', { error });
      })
      .finally(() => {
        this.#ending.delete(ending);
      });
    this.#ending.add(ending);
  }
}

/** Asked anew: it changes while something is waited for. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
