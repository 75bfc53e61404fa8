/**
 * Exact bounds of what the protocols compute, from schema and window alone. Design: protocols,
 * section 2.
 *
 * With `z = (1, x)` and `Q = Σ z zᵀ + (n-1)·diag(0, F)` over a window of `n` samples,
 * `h = zᵀQ⁻¹z = num/det`, `num = zᵀ adj(Q) z`, `det = det Q`, and
 * `MD² = (n-1)(h - 1/n) = (n-1)(n·num - det)/(n·det)`.
 *
 * `det = n·det(Σ(x-μ)(x-μ)ᵀ + (n-1)diag F)` by the Schur complement of the corner `n`; Hadamard's
 * inequality bounds a positive definite determinant by its diagonal's product, and Popoviciu's each
 * `Σ(x_j-μ_j)²` by `n·D_j²/4`. `num = det(Q + zzᵀ) - det Q` by the matrix determinant lemma, and
 * `Q + zzᵀ` is the same with `n + 1` samples.
 */
import { duoveilError } from '../errors.js';
import { bitLength } from '../integers.js';
import { MAX_WINDOW } from './policy.js';
import { scaleOf } from './scale.js';
import type { Schema } from './schema.js';

/** `det <= n·Π(n·D_j²/4 + (n-1)·F_j)`, rounded up to an integer. */
export function determinantBound(schema: Schema, window: number): bigint {
  return diagonalBound(schema, window, window);
}

/** `num <= (n+1)·Π((n+1)·D_j²/4 + (n-1)·F_j)`, rounded up to an integer. */
export function numeratorBound(schema: Schema, window: number): bigint {
  return diagonalBound(schema, window, window + 1);
}

function diagonalBound(schema: Schema, window: number, samples: number): bigint {
  const [n, m] = [BigInt(window), BigInt(samples)];
  const quarters = schema.channels.reduce((product, channel) => {
    const { D, F } = scaleOf(channel);
    return product * (m * D * D + 4n * (n - 1n) * F);
  }, m);
  const denominator = 4n ** BigInt(schema.channels.length);
  return (quarters + denominator - 1n) / denominator;
}

/** Bounds for reconstructing `MD²`: `0 <= numerator <= A`, `0 < denominator <= B`. */
export interface DistanceBounds {
  /** `A = n(n-1)·num`. */
  readonly numerator: bigint;
  /** `B = n·det`. */
  readonly denominator: bigint;
}

/** The bounds of `MD² = (n-1)(n·num - det)/(n·det)` as a rational, in lowest terms or not. */
export function distanceBounds(schema: Schema, window: number): DistanceBounds {
  const n = BigInt(window);
  return {
    numerator: n * (n - 1n) * numeratorBound(schema, window),
    denominator: n * determinantBound(schema, window),
  };
}

/** `2·n²(n-1)·num·det`: the reference suite reconstructs `MD²` when `N` is greater than this. */
export function referenceModulusBound(schema: Schema, window: number): bigint {
  const { numerator, denominator } = distanceBounds(schema, window);
  return 2n * numerator * denominator;
}

/**
 * The smallest `|N|` that fits, whatever the modulus' value: the least bits with
 * `2^(bits-1) > referenceModulusBound`.
 */
export function sufficientModulusBits(schema: Schema, window: number): number {
  return bitLength(referenceModulusBound(schema, window)) + 1;
}

/**
 * Check that the reference suite's results fit the modulus.
 * @param window samples in a baseline
 * @param modulusBits `|N|`, bits of the modulus
 * @throws DuoveilError BOUNDS_EXCEEDED that says which `|N|`, or which window or number of channels,
 *   would fit
 */
export function requireReferenceFits(schema: Schema, window: number, modulusBits: number): void {
  const sufficientBits = sufficientModulusBits(schema, window);
  if (modulusBits >= sufficientBits) return;
  const p = schema.channels.length;
  const fits = (channels: number, samples: number) =>
    modulusBits >= sufficientModulusBits({ channels: schema.channels.slice(0, channels) }, samples);

  const ways = [`a modulus of at least ${sufficientBits} bits`];
  const largest = largestWindow(p + 2, Math.min(window, MAX_WINDOW), (n) => fits(p, n));
  if (largest !== undefined) ways.push(`a window of at most ${largest}`);
  for (let channels = p - 1; channels >= 1; channels--) {
    if (!fits(channels, window)) continue;
    ways.push(`only the first ${channels} of the channels`);
    break;
  }
  throw duoveilError(
    'BOUNDS_EXCEEDED',
    `${p} channels with a window of ${window} do not fit a modulus of ${modulusBits} bits; ` +
      `what would fit: ${ways.join(', or ')}`,
    { sufficientBits },
  );
}

/** The largest `n` in `[from, to)` that fits, where fitting is monotone; `undefined` for none. */
function largestWindow(from: number, to: number, fits: (n: number) => boolean): number | undefined {
  if (from >= to || !fits(from)) return undefined;
  let [low, high] = [from, to];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}
