/**
 * A sample in the packed suite: its features side by side, encrypted under the patient's key.
 * Played by the gateway. Sums of ciphertexts are the sums of features over a window.
 */
import type { Ciphertext } from '../../bcp/ciphertext.js';
import type { KeyedBcp } from '../../bcp/scheme.js';
import { featureValues, pack, type PackingPlan } from '../../encoding/packing-plan.js';
import { inParts } from '../../lists.js';
import type { RandomSource } from '../../random.js';

/**
 * @param samples `p` quantised values each
 * @returns `plan.plaintexts` ciphertexts each
 */
export async function encryptSamples(
  { features, featureSlots, plaintexts }: PackingPlan,
  key: KeyedBcp,
  samples: readonly (readonly bigint[])[],
  random: RandomSource,
): Promise<Ciphertext[][]> {
  const packed = samples.flatMap((sample) =>
    inParts(featureValues(features, sample), featureSlots.perPlaintext).map((part) =>
      pack(part, featureSlots.bits),
    ),
  );
  return inParts(await key.encrypt(packed, random), plaintexts);
}
