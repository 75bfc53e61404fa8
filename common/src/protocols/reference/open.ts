/**
 * Opening: the service provider alone learns `m`. Lee, Choi, Lee 2015, section 5.3.
 *
 * | step | who | does | learns |
 * |---|---|---|---|
 * | 1 | SP | sends `m - σ` | nothing |
 * | 2 | CSP | opens it, returns `m - σ` in the clear | a uniform value |
 * | 3 | SP | adds `σ` | `m` |
 */
import type { Ciphertext, MaskedOpening } from '../../bcp/ciphertext.js';
import type { RandomSource } from '../../random.js';
import { mask, unveil } from './roles.js';
import type { CryptoServiceProviderRole, Masked, Masks, ServiceProviderRole } from './roles.js';

/** Step 1, SP: mask. */
export async function requestOpening(
  sp: ServiceProviderRole,
  values: readonly Ciphertext[],
  random: RandomSource,
): Promise<Masked> {
  return mask(sp, values, random);
}

/** Step 2, CSP: open. */
export async function answerOpening(
  csp: CryptoServiceProviderRole,
  openings: readonly MaskedOpening[],
): Promise<bigint[]> {
  return unveil(csp, openings);
}

/** Step 3, SP: remove the masks. Results are in `[0, N)`. */
export function acceptOpening(
  { key }: ServiceProviderRole,
  masks: Masks,
  answer: readonly bigint[],
): bigint[] {
  const taken = masks.take();
  return answer.map((value, i) => key.bcp.reduce(value + (taken[i] ?? 0n)));
}
