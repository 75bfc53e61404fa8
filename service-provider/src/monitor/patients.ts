import { duoveilError } from '@duoveil/common/errors';
import { Bell, parsePatientId, type PatientId } from '@duoveil/common/runtime';

import type { News, Patient, Store } from '../store/index.js';
import type { MonitorObserver } from './observer.js';
import type { PatientSuite, SuiteFactory } from './suite.js';

/** One enrolled patient, as this process knows them. */
export interface Watched {
  readonly patient: Patient;
  readonly suite: PatientSuite;
  /** Rung when a sample came in here. */
  readonly arrivals: Bell;
  /** Rung when a decision was made or a model trained, here or by another process on the database. */
  readonly progress: Bell;
  /** Rung when an operator has changed the patient's book of alarms, here or elsewhere. */
  readonly books: Bell;
}

/** The enrolled patients, read from the store when they are first asked for. */
export class Patients {
  readonly #store: Store;
  readonly #suiteOf: SuiteFactory;
  readonly #known = new Map<PatientId, Watched>();

  constructor(store: Store, suiteOf: SuiteFactory, observer?: MonitorObserver) {
    this.#store = store;
    this.#suiteOf = suiteOf;
    store.listen((id, news) => {
      const patient = id === undefined ? undefined : parsePatientId(id, 'announced patient');
      this.ring(patient, news);
      observer?.news(patient, news);
    });
  }

  /** @throws DuoveilError `PATIENT_NOT_ENROLLED` */
  async of(id: PatientId): Promise<Watched> {
    const patient = this.#known.has(id) ? undefined : await this.#store.patients.find(id);
    // Another call may have been faster: there is one bell for all.
    let watched = this.#known.get(id);
    if (watched === undefined && patient !== undefined) {
      const suite = this.#suiteOf(patient);
      watched = { patient, suite, arrivals: new Bell(), progress: new Bell(), books: new Bell() };
      this.#known.set(id, watched);
    }
    if (watched === undefined) {
      throw duoveilError('PATIENT_NOT_ENROLLED', 'this patient is not enrolled: enrol first');
    }
    return watched;
  }

  /** There is news of a patient, or may be of any. */
  ring(patient: PatientId | undefined, news: News): void {
    const whose = patient === undefined ? this.#known.values() : [this.#known.get(patient)];
    for (const watched of whose) {
      watched?.progress.ring();
      if (news !== 'book') continue;
      watched?.books.ring();
      // Whoever waits for samples looks at the book, too.
      watched?.arrivals.ring();
    }
  }
}
