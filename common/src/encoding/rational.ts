/** Exact rationals: made, recovered from a residue, compared, and rounded once to a double. */
import { bitLength, gcd } from '../integers.js';
import { THRESHOLD_SCALE } from './threshold.js';

/** `numerator / denominator`, in lowest terms, `denominator > 0`. */
export interface Rational {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

/**
 * A quotient in lowest terms with a positive denominator.
 * @throws RangeError for a denominator of 0: a defect of the caller
 */
export function makeRational(numerator: bigint, denominator: bigint): Rational {
  if (denominator === 0n) throw new RangeError('a denominator must not be 0');
  const divisor = denominator < 0n ? -gcd(numerator, denominator) : gcd(numerator, denominator);
  return { numerator: numerator / divisor, denominator: denominator / divisor };
}

/**
 * Rational reconstruction: the one `num/den` in lowest terms with `num ≡ residue·den (mod modulus)`,
 * `|num| <= numeratorBound` and `0 < den <= denominatorBound`.
 *
 * By the half-extended Euclidean algorithm, stopped at the first remainder within the numerator's
 * bound: Wang, *A p-adic algorithm for univariate partial fractions*, SYMSAC 1981; Wang, Guy,
 * Davenport, *P-adic reconstruction of rational numbers*, SIGSAM Bulletin 16(2), 1982; von zur Gathen
 * and Gerhard, *Modern Computer Algebra*, section 5.10.
 *
 * @param residue any integer; taken mod `modulus`
 * @param modulus greater than `2·numeratorBound·denominatorBound`, which makes the answer unique
 * @param numeratorBound at least 0
 * @param denominatorBound at least 1
 * @returns the rational, or `undefined` where no rational within the bounds has this residue
 * @throws RangeError where the bounds do not fit the modulus: a defect of the caller
 */
export function reconstruct(
  residue: bigint,
  modulus: bigint,
  numeratorBound: bigint,
  denominatorBound: bigint,
): Rational | undefined {
  const meaningful = numeratorBound >= 0n && denominatorBound >= 1n && modulus > 1n;
  if (!meaningful || modulus <= 2n * numeratorBound * denominatorBound) {
    throw new RangeError('the modulus must exceed twice the product of the bounds');
  }
  let [previous, remainder] = [modulus, ((residue % modulus) + modulus) % modulus];
  let [previousFactor, factor] = [0n, 1n];
  while (remainder > numeratorBound) {
    const quotient = previous / remainder;
    [previous, remainder] = [remainder, previous - quotient * remainder];
    [previousFactor, factor] = [factor, previousFactor - quotient * factor];
  }
  const [numerator, denominator] = factor < 0n ? [-remainder, -factor] : [remainder, factor];
  if (denominator > denominatorBound || gcd(numerator, denominator) !== 1n) return undefined;
  return { numerator, denominator };
}

/** Exponent of the least bit of a double's significand at its smallest. */
const MIN_EXPONENT = -1074;

/** Exponent of the leading bit of the largest doubles. */
const MAX_EXPONENT = 1023;

/** Bits of a double's significand after the leading one. */
const FRACTION_BITS = 52;

/**
 * The double nearest to a rational, a tie to the even one (IEEE 754): rounded once, whatever the
 * size. Subnormal where it is that small; `±Infinity` beyond the largest double's rounding range.
 */
export function toNumber({ numerator, denominator }: Rational): number {
  if (numerator === 0n) return 0;
  const sign = numerator < 0n ? -1 : 1;
  const magnitude = numerator < 0n ? -numerator : numerator;

  // 2^exponent <= magnitude/denominator < 2^(exponent+1)
  let exponent = bitLength(magnitude) - bitLength(denominator);
  const [whole, part] = shifted(magnitude, denominator, exponent);
  if (whole < part) exponent -= 1;
  if (exponent > MAX_EXPONENT) return sign * Infinity;

  const unit = Math.max(exponent - FRACTION_BITS, MIN_EXPONENT);
  const [dividend, divisor] = shifted(magnitude, denominator, unit);
  let significand = dividend / divisor;
  const twice = 2n * (dividend % divisor);
  if (twice > divisor || (twice === divisor && significand % 2n === 1n)) significand += 1n;
  // Both factors and, but for overflow, the product are doubles: this does not round again.
  return sign * Number(significand) * powerOfTwo(unit);
}

/** `magnitude / (denominator·2^exponent)` as a dividend and a divisor, both integers. */
function shifted(magnitude: bigint, denominator: bigint, exponent: number): [bigint, bigint] {
  return exponent < 0
    ? [magnitude << BigInt(-exponent), denominator]
    : [magnitude, denominator << BigInt(exponent)];
}

/** `2^exponent` for -1074 to 1023, from its bits: `**` need not be exact. */
function powerOfTwo(exponent: number): number {
  const bits =
    exponent < -1022 ? 1n << BigInt(exponent - MIN_EXPONENT) : BigInt(exponent + 1023) << 52n;
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}

/** Compare a rational with `thresholdScaled/2^16`, exactly: -1 below, 0 equal, 1 above. */
export function compareToScaled(value: Rational, thresholdScaled: bigint): -1 | 0 | 1 {
  const difference = value.numerator * THRESHOLD_SCALE - thresholdScaled * value.denominator;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** Is this squared distance above the threshold `T_s/2^16`? Equal is not above. */
export function isOutlier(md2: Rational, thresholdScaled: bigint): boolean {
  return compareToScaled(md2, thresholdScaled) > 0;
}
