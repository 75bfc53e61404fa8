/** What each role of the packed suite holds while it plays, and what both do to a masked value. */
import type { KeyedBcp } from '../../bcp/scheme.js';
import { STATISTICAL_BITS, type PackingPlan } from '../../encoding/packing-plan.js';
import type { AdditiveKey, AdditiveKeyPair } from '../../paillier/index.js';
import { uniformBits, type RandomSource } from '../../random.js';

/** The service provider: the patient's public key, the CSP's additive key, and a key of its own. */
export interface ServiceProviderRole {
  readonly plan: PackingPlan;
  readonly patient: KeyedBcp;
  /** Encrypts to the CSP: modulus and generator are those of the public parameters. */
  readonly csp: AdditiveKey;
  /** What the CSP answers with, for the service provider alone. */
  readonly own: AdditiveKeyPair;
}

/** The crypto service provider: the additive key of the public parameters, with what opens it. */
export interface CryptoServiceProviderRole {
  readonly plan: PackingPlan;
  readonly own: AdditiveKeyPair;
}

/** The service provider's key, as the CSP uses it. */
export interface ProviderKey {
  readonly key: AdditiveKey;
  /** The same modulus with a generator of the CSP's own drawing, to rerandomise with. */
  readonly zeros: AdditiveKey;
}

/**
 * A multiple of `P` that hides the quotient of a value by `P` statistically: `P·t`, `t` with κ bits
 * more than the quotient can have.
 */
export function hidingMultiple(
  { field }: PackingPlan,
  quotientBits: number,
  random: RandomSource,
): bigint {
  return field.order * uniformBits(quotientBits + STATISTICAL_BITS, random);
}

/** A remainder in `[0, m)`. */
export function modulo(value: bigint, m: bigint): bigint {
  const remainder = value % m;
  return remainder < 0n ? remainder + m : remainder;
}

/** The inner product of two lists of the same length. */
export function innerProduct(left: readonly bigint[], right: readonly bigint[]): bigint {
  if (left.length !== right.length) throw new RangeError('lists differ in length');
  return left.reduce((sum, value, i) => sum + value * (right[i] ?? 0n), 0n);
}
