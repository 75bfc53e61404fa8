import type { Ciphertext, MaskedOpening } from '../../bcp/ciphertext.js';
import { inPairs } from '../../lists.js';
import type { RandomSource } from '../../random.js';
import { mask, unveil } from './roles.js';
import type { CryptoServiceProviderRole, Masks, ServiceProviderRole } from './roles.js';

/** Two operands under one key. */
export interface CiphertextPair {
  readonly left: Ciphertext;
  readonly right: Ciphertext;
}

/** Two masked operands. */
export interface MaskedPair {
  readonly left: MaskedOpening;
  readonly right: MaskedOpening;
}

/** SP: mask both operands of each pair, every one with a mask of its own. */
export async function maskPairs(
  sp: ServiceProviderRole,
  pairs: readonly CiphertextPair[],
  random: RandomSource,
): Promise<{ pairs: MaskedPair[]; masks: Masks }> {
  const { openings, masks } = await mask(
    sp,
    pairs.flatMap(({ left, right }) => [left, right]),
    random,
  );
  return { pairs: inPairs(openings).map(([left, right]) => ({ left, right })), masks };
}

/** CSP: open both operands of each pair. */
export async function unveilPairs(
  csp: CryptoServiceProviderRole,
  pairs: readonly MaskedPair[],
): Promise<(readonly [bigint, bigint])[]> {
  return inPairs(
    await unveil(
      csp,
      pairs.flatMap(({ left, right }) => [left, right]),
    ),
  );
}
