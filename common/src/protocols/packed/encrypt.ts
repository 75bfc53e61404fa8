/**
 * A sample in the packed suite: its features side by side, encrypted under the patient's key.
 * Played by the gateway. Sums of ciphertexts are the sums of features over a window.
 */
import type { Ciphertext } from '../../bcp/ciphertext.js';
import type { KeyedBcp } from '../../bcp/scheme.js';
import { featureValues, pack, unpack, type PackingPlan } from '../../encoding/packing-plan.js';
import { elementAt, inParts } from '../../lists.js';
import type { RandomSource } from '../../random.js';

/**
 * @param samples `p` quantised values each
 * @returns `plan.plaintexts` ciphertexts each
 */
export async function encryptSamples(
  plan: PackingPlan,
  key: KeyedBcp,
  samples: readonly (readonly bigint[])[],
  random: RandomSource,
): Promise<Ciphertext[][]> {
  const packed = samples.flatMap((sample) => packSample(plan, sample));
  return inParts(await key.encrypt(packed, random), plan.plaintexts);
}

/**
 * A sample from its decrypted plaintexts: for the gateway, which alone can decrypt them.
 * @returns its `p` values; undefined where the plaintexts are not the features of any sample
 */
export function readSample(plan: PackingPlan, plaintexts: readonly bigint[]): bigint[] | undefined {
  const { bits, perPlaintext } = plan.featureSlots;
  const parts = inParts(plan.features, perPlaintext);
  // The values themselves come first among the features.
  const values = plaintexts
    .flatMap((plaintext, i) => unpack(plaintext, bits, elementAt(parts, i).length))
    .slice(0, plan.p);
  const packed = packSample(plan, values);
  return packed.every((part, i) => part === plaintexts[i]) ? values : undefined;
}

/** The features of a sample, side by side, in `plan.plaintexts` plaintexts. */
function packSample({ features, featureSlots }: PackingPlan, sample: readonly bigint[]): bigint[] {
  const { bits, perPlaintext } = featureSlots;
  return inParts(featureValues(features, sample), perPlaintext).map((part) => pack(part, bits));
}
