import type { Rational } from '@duoveil/common/encoding';

import type { Patient, StoredModel, StoredSample } from '../store/index.js';

/** One patient's protocols, as the monitor plays them with the CSP. */
export interface PatientSuite {
  /** How many ciphertexts a sample has. */
  readonly ciphertextsPerSample: number;
  /** Train a baseline: what a model keeps, in a form of the suite's own. */
  train(window: readonly StoredSample[]): Promise<Uint8Array>;
  /**
   * `MD²` of a sample.
   * @returns undefined where the plaintext cannot be a sample of the schema.
   */
  score(model: StoredModel, sample: StoredSample): Promise<Rational | undefined>;
}

/** Makes the suite of a patient. */
export type SuiteFactory = (patient: Patient) => PatientSuite;
