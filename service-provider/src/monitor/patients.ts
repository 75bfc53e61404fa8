import { duoveilError } from '@duoveil/common/errors';
import { Bell, type PatientId } from '@duoveil/common/runtime';

import type { Patient, Store } from '../store/index.js';
import type { PatientSuite, SuiteFactory } from './suite.js';

/** One enrolled patient, as this process knows them. */
export interface Watched {
  readonly patient: Patient;
  readonly suite: PatientSuite;
  /** Rung when a sample came in here. */
  readonly arrivals: Bell;
  /** Rung when a decision was made or a model trained, here or by another process on the database. */
  readonly progress: Bell;
}

/** The enrolled patients, read from the store when they are first asked for. */
export class Patients {
  readonly #store: Store;
  readonly #suiteOf: SuiteFactory;
  readonly #known = new Map<string, Watched>();

  constructor(store: Store, suiteOf: SuiteFactory) {
    this.#store = store;
    this.#suiteOf = suiteOf;
    store.listen((patient) => {
      this.#ring(patient);
    });
  }

  /** @throws DuoveilError `PATIENT_NOT_ENROLLED` */
  async of(id: PatientId): Promise<Watched> {
    const patient = this.#known.has(id) ? undefined : await this.#store.patients.find(id);
    // Another call may have been faster: there is one bell for all.
    let watched = this.#known.get(id);
    if (watched === undefined && patient !== undefined) {
      const suite = this.#suiteOf(patient);
      watched = { patient, suite, arrivals: new Bell(), progress: new Bell() };
      this.#known.set(id, watched);
    }
    if (watched === undefined) {
      throw duoveilError('PATIENT_NOT_ENROLLED', 'this patient is not enrolled: enrol first');
    }
    return watched;
  }

  #ring(patient: string | undefined): void {
    if (patient !== undefined) this.#known.get(patient)?.progress.ring();
    else for (const { progress } of this.#known.values()) progress.ring();
  }
}
