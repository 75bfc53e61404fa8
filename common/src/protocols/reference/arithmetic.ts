import type { Ciphertext } from '../../bcp/ciphertext.js';
import type { CiphertextMatrix } from './invert-matrix.js';
import type { CiphertextPair } from './pairs.js';

/**
 * The blinded operations as training and scoring use them: each call is one round trip, or a few
 * where a list is long, under fresh masks.
 */
export interface BlindedArithmetic {
  /** `Enc(m - m')` of each pair. */
  subtract(pairs: readonly CiphertextPair[]): Promise<Ciphertext[]>;
  /** `Enc(m·m')` of each pair. */
  multiply(pairs: readonly CiphertextPair[]): Promise<Ciphertext[]>;
  /** `Enc(m/n)`, the residue of the rational. */
  divide(dividends: readonly Ciphertext[], divisor: bigint): Promise<Ciphertext[]>;
  /** `Enc(S⁻¹)`. */
  invert(matrix: CiphertextMatrix): Promise<Ciphertext[][]>;
  /** `m`, in `[0, N)`, to the service provider alone. */
  open(values: readonly Ciphertext[]): Promise<bigint[]>;
}
