/**
 * Secure multiplication: `Enc(m), Enc(m') → Enc(m·m')`. Lee, Choi, Lee 2015, section 5.3; Peter,
 * Tews, Katzenbeisser 2013, section 4.2.
 *
 * | step | who | does | learns |
 * |---|---|---|---|
 * | 1 | SP | sends `m - σ`, `m' - σ'` | nothing |
 * | 2 | CSP | opens both, returns `Enc((m - σ)(m' - σ'))` | two uniform values |
 * | 3 | SP | adds `m·σ' + m'·σ - σσ'`: two constant multiples of ciphertexts that it has | nothing |
 */
import type { Ciphertext } from '../../bcp/ciphertext.js';
import { inPairs } from '../../lists.js';
import type { RandomSource } from '../../random.js';
import { maskPairs, unveilPairs, type CiphertextPair, type MaskedPair } from './pairs.js';
import type { CryptoServiceProviderRole, Masks, ServiceProviderRole } from './roles.js';

/** Step 1, SP: mask. */
export async function requestProducts(
  sp: ServiceProviderRole,
  pairs: readonly CiphertextPair[],
  random: RandomSource,
): Promise<{ pairs: MaskedPair[]; masks: Masks }> {
  return maskPairs(sp, pairs, random);
}

/** Step 2, CSP: open, multiply, encrypt afresh under the patient's key. */
export async function answerProducts(
  csp: CryptoServiceProviderRole,
  pairs: readonly MaskedPair[],
  random: RandomSource,
): Promise<Ciphertext[]> {
  const opened = await unveilPairs(csp, pairs);
  return csp.key.encrypt(
    opened.map(([left, right]) => left * right),
    random,
  );
}

/** Step 3, SP: remove the masks. One exponentiation a component for each constant multiple. */
export async function acceptProducts(
  { key }: ServiceProviderRole,
  pairs: readonly CiphertextPair[],
  masks: Masks,
  answer: readonly Ciphertext[],
): Promise<Ciphertext[]> {
  const { bcp } = key;
  const taken = inPairs(masks.take());
  const crossTerms = inPairs(
    await bcp.scale(
      pairs.flatMap(({ left, right }, i) => {
        const [leftMask, rightMask] = taken[i] ?? [0n, 0n];
        return [
          { ciphertext: left, factor: rightMask },
          { ciphertext: right, factor: leftMask },
        ];
      }),
    ),
  );
  const sums = await bcp.sums(answer.map((product, i) => [product, ...(crossTerms[i] ?? [])]));
  return sums.map((sum, i) => {
    const [leftMask, rightMask] = taken[i] ?? [0n, 0n];
    return bcp.addConstant(sum, -leftMask * rightMask);
  });
}
