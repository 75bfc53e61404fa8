import type { Ciphertext } from '@duoveil/common/bcp';
import type { Rational } from '@duoveil/common/encoding';

import type { Patient, StoredModel, StoredSample } from '../store/index.js';

/** One patient's protocols, as the monitor plays them with the CSP. */
export interface PatientSuite {
  /** How many ciphertexts a sample has. */
  readonly ciphertextsPerSample: number;
  /**
   * Train a baseline: what a model keeps, in a form of the suite's own.
   * @param number the model's, to which the CSP may bind its share
   */
  train(window: readonly StoredSample[], number: number): Promise<Uint8Array>;
  /**
   * What may be learnt of a sample.
   * @returns undefined where the plaintext cannot be a sample of the schema; level output cannot tell
   */
  score(model: StoredModel, sample: StoredSample): Promise<Score | undefined>;
  /** The encrypted sums that a model was trained from, for the patient's own gateway. */
  sums(model: StoredModel): Promise<Ciphertext[]>;
}

/** `MD²`, or how many thresholds it exceeds. */
export type Score =
  | { readonly kind: 'distance'; readonly distance: Rational }
  | { readonly kind: 'level'; readonly level: number };

/** Makes the suite of a patient. */
export type SuiteFactory = (patient: Patient) => PatientSuite;
