/**
 * Scoring: the squared Mahalanobis distance of one sample. Lee, Choi, Lee 2015, section 5.4. Played
 * by the service provider over {@link BlindedArithmetic}.
 *
 * 1. `d = x - μ`: one subtraction a channel.
 * 2. `y = (S⁺)⁻¹·d`: `p²` multiplications, local additions.
 * 3. `MD² = d·y`: `p` multiplications, local additions.
 * 4. Open: the service provider alone learns the residue of `MD²`.
 *
 * The CSP sees uniform values.
 */
import type { Ciphertext } from '../../bcp/ciphertext.js';
import type { Bcp } from '../../bcp/scheme.js';
import { zip } from '../../lists.js';
import type { BlindedArithmetic } from './arithmetic.js';
import type { ReferenceModel } from './train.js';

/**
 * @param sample `p` ciphertexts.
 * @returns `MD² mod N`, in `[0, N)`: reconstruct the rational with the bounds of the schema.
 */
export async function score(
  arithmetic: BlindedArithmetic,
  bcp: Bcp,
  model: ReferenceModel,
  sample: readonly Ciphertext[],
): Promise<bigint> {
  const deviations = await arithmetic.subtract(
    zip(sample, model.mean).map(([left, right]) => ({ left, right })),
  );

  const terms = await arithmetic.multiply(
    model.precision.flatMap((row) =>
      zip(row, deviations).map(([left, right]) => ({ left, right })),
    ),
  );
  const size = deviations.length;
  const weighted = await bcp.sums(deviations.map((_, i) => terms.slice(i * size, (i + 1) * size)));

  const squares = await arithmetic.multiply(
    zip(deviations, weighted).map(([left, right]) => ({ left, right })),
  );
  const [distance] = await arithmetic.open(await bcp.sums([squares]));
  if (distance === undefined) throw new RangeError('nothing was opened');
  return distance;
}
