import { duoveilError } from '@duoveil/common/errors';
import type { Clock, Logger, PatientId, Sleep } from '@duoveil/common/runtime';

import type { Patient, Store } from '../store/index.js';
import { Bell } from './bell.js';
import { PatientMonitor } from './patient-monitor.js';
import type { PatientSuite, SuiteFactory } from './suite.js';

/** One enrolled patient, watched. */
export interface Watched {
  readonly patient: Patient;
  readonly suite: PatientSuite;
  /** Rung when a sample came in. */
  readonly arrivals: Bell;
  /** Rung when a decision was made or a model trained. */
  readonly progress: Bell;
}

/** All patients' monitors. Different patients are worked on concurrently. */
export class Monitors {
  readonly #store: Store;
  readonly #suiteOf: SuiteFactory;
  readonly #clock: Clock;
  readonly #sleep: Sleep;
  readonly #logger: Logger;
  readonly #stop: AbortSignal;
  readonly #watched = new Map<PatientId, Watched>();
  readonly #running = new Set<Promise<void>>();

  /** @param stop ends all monitors, each after the step that it is at. */
  constructor(options: {
    readonly store: Store;
    readonly suiteOf: SuiteFactory;
    readonly clock: Clock;
    readonly sleep: Sleep;
    readonly logger: Logger;
    readonly stop: AbortSignal;
  }) {
    this.#store = options.store;
    this.#suiteOf = options.suiteOf;
    this.#clock = options.clock;
    this.#sleep = options.sleep;
    this.#logger = options.logger;
    this.#stop = options.stop;
  }

  /** Go on with everybody who is in the store. */
  async resume(): Promise<void> {
    for (const patient of await this.#store.patients.all()) this.watch(patient);
  }

  /** Begin to watch a patient who is in the store. Does nothing where that was begun before. */
  watch(patient: Patient): void {
    if (this.#watched.has(patient.id)) return;
    const suite = this.#suiteOf(patient);
    const bells = { arrivals: new Bell(), progress: new Bell() };
    this.#watched.set(patient.id, { patient, suite, ...bells });
    const monitor = new PatientMonitor(patient, suite, {
      store: this.#store,
      clock: this.#clock,
      sleep: this.#sleep,
      logger: this.#logger.child({ patient: patient.id }),
      ...bells,
    });
    const running = monitor.run(this.#stop).finally(() => {
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  /** @throws DuoveilError `PATIENT_NOT_ENROLLED` */
  of(patient: PatientId): Watched {
    const watched = this.#watched.get(patient);
    if (watched === undefined) {
      throw duoveilError('PATIENT_NOT_ENROLLED', 'this patient is not enrolled: enrol first');
    }
    return watched;
  }

  /** Resolves when every monitor has ended. */
  async stopped(): Promise<void> {
    await Promise.all(this.#running);
  }
}
