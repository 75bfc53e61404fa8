/** A sample in the reference suite: a ciphertext a channel. Played by the gateway. */
import type { Ciphertext } from '../../bcp/ciphertext.js';
import type { KeyedBcp } from '../../bcp/scheme.js';
import type { RandomSource } from '../../random.js';

/** @param samples quantised values, as many each as there are channels */
export async function encryptSamples(
  key: KeyedBcp,
  samples: readonly (readonly bigint[])[],
  random: RandomSource,
): Promise<Ciphertext[][]> {
  const ciphertexts = await key.encrypt(samples.flat(), random);
  let next = 0;
  return samples.map((sample) => ciphertexts.slice(next, (next += sample.length)));
}
