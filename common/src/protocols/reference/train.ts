/**
 * Training: encrypted mean and inverse covariance of a window of samples. Lee, Choi, Lee 2015,
 * section 5.4. Played by the service provider over {@link BlindedArithmetic}.
 *
 * 1. `μ = Σx/n`: local additions, one division a channel.
 * 2. `d = x - μ`: one subtraction a channel and sample.
 * 3. `S_jk = Σ d_j·d_k / (n - 1)`, `j ≤ k`: one multiplication a pair and sample, local additions,
 *    one division a pair.
 * 4. `S⁺ = S + diag(F)`: local.
 * 5. `(S⁺)⁻¹`: one inversion.
 *
 * The service provider learns nothing; the CSP sees uniform values, and counts.
 */
import type { Ciphertext } from '../../bcp/ciphertext.js';
import type { Bcp } from '../../bcp/scheme.js';
import { elementAt } from '../../lists.js';
import type { BlindedArithmetic } from './arithmetic.js';

/** What scoring needs, encrypted under the patient's key. */
export interface ReferenceModel {
  /** `μ`, residues of rationals, a channel each. */
  readonly mean: readonly Ciphertext[];
  /** `(S⁺)⁻¹`, by rows. */
  readonly precision: readonly (readonly Ciphertext[])[];
}

/**
 * @param window `n ≥ p + 2` samples of `p` ciphertexts each.
 * @param noiseFloors `F`, a positive integer a channel.
 */
export async function train(
  arithmetic: BlindedArithmetic,
  bcp: Bcp,
  window: readonly (readonly Ciphertext[])[],
  noiseFloors: readonly bigint[],
): Promise<ReferenceModel> {
  const size = BigInt(window.length);
  const channels = noiseFloors.map((_, j) => j);

  const totals = await bcp.sums(channels.map((j) => window.map((sample) => elementAt(sample, j))));
  const mean = await arithmetic.divide(totals, size);

  const deviations = await arithmetic.subtract(
    window.flatMap((sample) =>
      channels.map((j) => ({ left: elementAt(sample, j), right: elementAt(mean, j) })),
    ),
  );

  const pairs = channels.flatMap((j) => channels.slice(j).map((k) => [j, k] as const));
  const products = await arithmetic.multiply(
    window.flatMap((_, i) =>
      pairs.map(([j, k]) => ({
        left: elementAt(deviations, i * channels.length + j),
        right: elementAt(deviations, i * channels.length + k),
      })),
    ),
  );
  const scatter = await bcp.sums(
    pairs.map((_, pair) => window.map((__, i) => elementAt(products, i * pairs.length + pair))),
  );
  const covariances = await arithmetic.divide(scatter, size - 1n);

  const covariance = channels.map((j) =>
    channels.map((k) => {
      const entry = elementAt(
        covariances,
        pairs.findIndex(([a, b]) => a === Math.min(j, k) && b === Math.max(j, k)),
      );
      return j === k ? bcp.addConstant(entry, elementAt(noiseFloors, j)) : entry;
    }),
  );
  return { mean, precision: await arithmetic.invert(covariance) };
}
