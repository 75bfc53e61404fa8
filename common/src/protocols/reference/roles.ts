/**
 * What each role of the reference suite holds while it plays, and the masking that all of its
 * operations share.
 *
 * Lee, Choi, Lee 2015, section 5.3, after A. Peter, E. Tews, S. Katzenbeisser, *Efficiently
 * outsourcing multiparty computation under multiple keys*, IEEE TIFS 8(12), 2013, section 4.
 */
import type { Ciphertext, MaskedOpening } from '../../bcp/ciphertext.js';
import type { KeyedBcp } from '../../bcp/scheme.js';
import type { StrongDecryption } from '../../bcp/strong-decryption.js';
import { uniformBelow, type RandomSource } from '../../random.js';

/** The service provider: a patient's public key, no decryption key. */
export interface ServiceProviderRole {
  readonly key: KeyedBcp;
}

/** The crypto service provider: the same public key, and the master key. */
export interface CryptoServiceProviderRole {
  readonly key: KeyedBcp;
  readonly decryption: StrongDecryption;
}

/**
 * The masks of one call, uniform in `[0, N)`. They are drawn for one request, taken once when its
 * answer is unmasked, and forgotten then: a call that is repeated is masked afresh.
 */
export class Masks {
  #values: readonly bigint[] | undefined;

  constructor(values: readonly bigint[]) {
    this.#values = values;
  }

  /** @throws Error where the masks were taken before: a defect. */
  take(): readonly bigint[] {
    const values = this.#values;
    if (values === undefined) throw new Error('these masks were used before');
    this.#values = undefined;
    return values;
  }
}

/** A request's hidden values and the masks that hide them. */
export interface Masked {
  readonly openings: MaskedOpening[];
  readonly masks: Masks;
}

/**
 * SP: hide each message `m` as `m - σ`, `σ` uniform modulo `N` and fresh: what the CSP opens is
 * uniform, whatever `m` is. The ciphertext is rerandomised, so that its randomness says nothing
 * either.
 */
export async function mask(
  { key }: ServiceProviderRole,
  values: readonly Ciphertext[],
  random: RandomSource,
): Promise<Masked> {
  const { bcp } = key;
  const masks = values.map(() => uniformBelow(bcp.parameters.modulus, random));
  const hidden = values.map((value, i) => bcp.addConstant(value, -(masks[i] ?? 0n)));
  return { openings: await key.rerandomiseForOpening(hidden, random), masks: new Masks(masks) };
}

/** CSP: what the service provider masked. */
export async function unveil(
  { key, decryption }: CryptoServiceProviderRole,
  openings: readonly MaskedOpening[],
): Promise<bigint[]> {
  return decryption.open(key.publicKey, openings);
}
