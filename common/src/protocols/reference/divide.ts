/**
 * Secure division by a public constant: `Enc(m), n → Enc(m·n⁻¹ mod N)`. Lee, Choi, Lee 2015,
 * section 5.3. The residue of the rational `m/n`, exactly: nothing is rounded.
 *
 * | step | who | does | learns |
 * |---|---|---|---|
 * | 1 | SP | sends `m - σ` | nothing |
 * | 2 | CSP | opens it, returns `Enc((m - σ)·n⁻¹)` | a uniform value |
 * | 3 | SP | adds `σ·n⁻¹` | nothing |
 */
import { modInv } from 'bigint-crypto-utils';

import type { Ciphertext, MaskedOpening } from '../../bcp/ciphertext.js';
import type { RandomSource } from '../../random.js';
import { mask, unveil } from './roles.js';
import type { CryptoServiceProviderRole, Masked, Masks, ServiceProviderRole } from './roles.js';

/** Step 1, SP: mask. */
export async function requestQuotients(
  sp: ServiceProviderRole,
  dividends: readonly Ciphertext[],
  random: RandomSource,
): Promise<Masked> {
  return mask(sp, dividends, random);
}

/** Step 2, CSP: open, divide, encrypt afresh under the patient's key. */
export async function answerQuotients(
  csp: CryptoServiceProviderRole,
  openings: readonly MaskedOpening[],
  divisor: bigint,
  random: RandomSource,
): Promise<Ciphertext[]> {
  const reciprocal = modInv(divisor, csp.key.bcp.parameters.modulus);
  const opened = await unveil(csp, openings);
  return csp.key.encrypt(
    opened.map((dividend) => dividend * reciprocal),
    random,
  );
}

/** Step 3, SP: remove the masks. */
export function acceptQuotients(
  { key }: ServiceProviderRole,
  divisor: bigint,
  masks: Masks,
  answer: readonly Ciphertext[],
): Ciphertext[] {
  const reciprocal = modInv(divisor, key.bcp.parameters.modulus);
  const taken = masks.take();
  return answer.map((quotient, i) => key.bcp.addConstant(quotient, (taken[i] ?? 0n) * reciprocal));
}
