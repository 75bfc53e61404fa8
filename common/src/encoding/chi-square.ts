/**
 * Quantiles of the chi-square distribution.
 *
 * With `a = k/2`, `t = x/2` the distribution function is the regularised incomplete gamma function
 * `P(a, t) = 1 - Q(a, t)`: for `t < a + 1` by its series (NIST DLMF 8.11.4), otherwise by the
 * continued fraction of `Q` (DLMF 8.9.2) with Lentz's algorithm; Press et al., Numerical Recipes
 * (3rd ed., 2007), section 6.2. It is inverted by Newton's iteration, kept within a bracket.
 */
import { duoveilError } from '../errors.js';

const EPSILON = Number.EPSILON;

/** Stands in for a zero denominator in Lentz's algorithm. */
const TINY = 1e-300;

/** Most degrees of freedom: far more than a schema can have, few enough for every step to converge. */
const MAX_DEGREES = 1000;

/**
 * The quantile of the chi-square distribution: the `x` with `Pr(X <= x) = quantile`. Relative error
 * below 1e-12.
 * @param quantile strictly between 0 and 1
 * @param k degrees of freedom; an integer from 1 to 1000
 * @throws DuoveilError SCHEMA_INVALID for a quantile or degrees of freedom outside of that
 */
export function chiSquareQuantile(quantile: number, k: number): number {
  if (!(quantile > 0 && quantile < 1)) {
    const message = 'quantile must lie strictly between 0 and 1, such as 0.975';
    throw duoveilError('SCHEMA_INVALID', message, { field: 'quantile' });
  }
  if (!Number.isInteger(k) || k < 1 || k > MAX_DEGREES) {
    const message = `degrees of freedom must be an integer from 1 to ${MAX_DEGREES}`;
    throw duoveilError('SCHEMA_INVALID', message, { field: 'degreesOfFreedom' });
  }
  const a = k / 2;
  // Work on the smaller tail: the other would lose its digits in 1 - P.
  const upper = quantile > 0.5;
  const excess = (t: number) => {
    const { p, q } = incompleteGamma(a, t);
    return upper ? 1 - quantile - q : p - quantile;
  };

  let [low, high] = [0, a];
  while (excess(high) < 0) [low, high] = [high, 2 * high];
  let t = (low + high) / 2;
  for (let step = 0; step < 5000; step++) {
    const error = excess(t);
    if (error === 0) break;
    if (error < 0) low = t;
    else high = t;
    let next = t - error / gammaDensity(a, t);
    if (!(next > low && next < high)) next = (low + high) / 2;
    const moved = Math.abs(next - t);
    t = next;
    if (moved <= EPSILON * t) break;
  }
  return 2 * t;
}

/** `P(a, t)` and `Q(a, t) = 1 - P(a, t)` for half-integer `a > 0`, `t > 0`. */
function incompleteGamma(a: number, t: number): { p: number; q: number } {
  const factor = gammaDensity(a, t) * t;
  if (t < a + 1) {
    const p = factor * gammaSeries(a, t);
    return { p, q: 1 - p };
  }
  const q = factor * gammaFraction(a, t);
  return { p: 1 - q, q };
}

/** The series `Σ t^n / (a (a+1) ... (a+n))`. */
function gammaSeries(a: number, t: number): number {
  let term = 1 / a;
  let sum = term;
  for (let n = a + 1; term > EPSILON * sum; n++) {
    term *= t / n;
    sum += term;
  }
  return sum;
}

/** The continued fraction `1/(t+1-a- 1(1-a)/(t+3-a- 2(2-a)/(t+5-a- ...)))`. */
function gammaFraction(a: number, t: number): number {
  let denominator = t + 1 - a;
  let c = 1 / TINY;
  let d = 1 / denominator;
  let value = d;
  for (let n = 1; n < 10_000; n++) {
    const numerator = n * (a - n);
    denominator += 2;
    d = 1 / nonZero(numerator * d + denominator);
    c = nonZero(denominator + numerator / c);
    const change = c * d;
    value *= change;
    if (Math.abs(change - 1) <= EPSILON) break;
  }
  return value;
}

function nonZero(x: number): number {
  return Math.abs(x) < TINY ? TINY : x;
}

/** `t^(a-1) e^-t / Γ(a)`: the density of the gamma distribution. */
function gammaDensity(a: number, t: number): number {
  return Math.exp((a - 1) * Math.log(t) - t - logGammaHalf(a));
}

/** `log Γ(a)` for a positive half-integer `a`, from `Γ(1) = 1`, `Γ(1/2) = √π`. */
function logGammaHalf(a: number): number {
  let sum = Number.isInteger(a) ? 0 : Math.log(Math.PI) / 2;
  for (let factor = a - 1; factor > 0; factor--) sum += Math.log(factor);
  return sum;
}
