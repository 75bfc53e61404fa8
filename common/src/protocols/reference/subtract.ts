/**
 * Secure subtraction: `Enc(m), Enc(m') → Enc(m - m')`. Lee, Choi, Lee 2015, section 5.3.
 *
 * | step | who | does | learns |
 * |---|---|---|---|
 * | 1 | SP | sends `m - σ`, `m' - σ'` | nothing |
 * | 2 | CSP | opens both, returns `Enc((m - σ) - (m' - σ'))` | two uniform values |
 * | 3 | SP | adds `σ - σ'` | nothing |
 */
import type { Ciphertext } from '../../bcp/ciphertext.js';
import { inPairs } from '../../lists.js';
import type { RandomSource } from '../../random.js';
import { maskPairs, unveilPairs, type CiphertextPair, type MaskedPair } from './pairs.js';
import type { CryptoServiceProviderRole, Masks, ServiceProviderRole } from './roles.js';

/** Step 1, SP: mask. */
export async function requestDifferences(
  sp: ServiceProviderRole,
  pairs: readonly CiphertextPair[],
  random: RandomSource,
): Promise<{ pairs: MaskedPair[]; masks: Masks }> {
  return maskPairs(sp, pairs, random);
}

/** Step 2, CSP: open, subtract, encrypt afresh under the patient's key. */
export async function answerDifferences(
  csp: CryptoServiceProviderRole,
  pairs: readonly MaskedPair[],
  random: RandomSource,
): Promise<Ciphertext[]> {
  const opened = await unveilPairs(csp, pairs);
  return csp.key.encrypt(
    opened.map(([left, right]) => left - right),
    random,
  );
}

/** Step 3, SP: remove the masks. */
export function acceptDifferences(
  { key }: ServiceProviderRole,
  masks: Masks,
  answer: readonly Ciphertext[],
): Ciphertext[] {
  const taken = inPairs(masks.take());
  return answer.map((difference, i) => {
    const [left, right] = taken[i] ?? [0n, 0n];
    return key.bcp.addConstant(difference, left - right);
  });
}
