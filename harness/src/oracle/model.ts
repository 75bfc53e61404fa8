/**
 * The squared Mahalanobis distance in exact rational arithmetic on plaintext: what every protocol has
 * to give, bit for bit. It follows the definition (mean, covariance, inverse), not the protocols'
 * way of computing it. Design: protocols, section 2.
 */
import { makeRational } from '@duoveil/common/encoding';
import type { Rational } from '@duoveil/common/encoding';
import { adjugate } from './adjugate.js';
import type { Adjugate } from './adjugate.js';

/**
 * A trained baseline of `n` samples of `p` components. With `s = Σx` it keeps
 * `V = n·Σxxᵀ - ssᵀ + n(n-1)·diag(F) = n(n-1)·S⁺`, an integer matrix, as its adjugate.
 */
export interface ExactModel {
  readonly samples: number;
  readonly sum: readonly bigint[];
  readonly scaledCovariance: Adjugate;
}

/**
 * Train on a window.
 * @param window `n >= 2` samples of `p` quantised components each
 * @param F the floors, `p` integers of at least 1
 * @throws RangeError for less than two samples, differing lengths, or a floor below 1
 */
export function trainExact(
  window: readonly (readonly bigint[])[],
  F: readonly bigint[],
): ExactModel {
  const n = BigInt(window.length);
  if (n < 2n || F.some((floor) => floor < 1n) || window.some((x) => x.length !== F.length)) {
    throw new RangeError(
      'needs two or more samples with as many components as floors of 1 or more',
    );
  }
  const total = (term: (x: readonly bigint[]) => bigint) =>
    window.reduce((sum, x) => sum + term(x), 0n);
  const sum = F.map((_, j) => total((x) => at(x, j)));
  const V = F.map((floor, j) =>
    F.map((_, k) => {
      const moment = n * total((x) => at(x, j) * at(x, k)) - at(sum, j) * at(sum, k);
      return j === k ? moment + n * (n - 1n) * floor : moment;
    }),
  );
  return { samples: window.length, sum, scaledCovariance: adjugate(V) };
}

/**
 * The squared distance of a sample from a baseline, in lowest terms: with `d = n·x - s`,
 * `MD² = (x-μ)ᵀ (S⁺)⁻¹ (x-μ) = (n-1)/n · dᵀ adj(V) d / det V`.
 * @throws RangeError where the sample has not as many components as the model
 */
export function scoreExact(model: ExactModel, x: readonly bigint[]): Rational {
  const { samples, sum, scaledCovariance } = model;
  if (x.length !== sum.length) throw new RangeError(`a sample needs ${sum.length} components`);
  const n = BigInt(samples);
  const d = x.map((component, j) => n * component - at(sum, j));
  const form = scaledCovariance.adjugate.reduce(
    (outer, row, j) => outer + at(d, j) * row.reduce((inner, v, k) => inner + v * at(d, k), 0n),
    0n,
  );
  return makeRational((n - 1n) * form, n * scaledCovariance.determinant);
}

/**
 * The exact squared Mahalanobis distance of `x` from a window, floors added to the variances.
 * @param window `n >= 2` samples of `p` quantised components each
 * @param F the floors, `p` integers of at least 1
 */
export function exactMd2(
  window: readonly (readonly bigint[])[],
  x: readonly bigint[],
  F: readonly bigint[],
): Rational {
  return scoreExact(trainExact(window, F), x);
}

function at(values: readonly bigint[], index: number): bigint {
  const value = values[index];
  if (value === undefined) throw new RangeError('a component is missing');
  return value;
}
