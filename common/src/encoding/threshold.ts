/** Thresholds for the squared distance, everywhere `T = T_s / 2^16` with an integer `T_s`. */
import { duoveilError } from '../errors.js';
import { chiSquareQuantile } from './chi-square.js';
import { parseDecimal } from './decimal.js';
import { roundHalfUp } from '../integers.js';

/** Bits after the binary point of a threshold. */
export const THRESHOLD_FRACTION_BITS = 16;

/** `2^16`: a threshold is `T_s / THRESHOLD_SCALE`. */
export const THRESHOLD_SCALE = 1n << BigInt(THRESHOLD_FRACTION_BITS);

/** Largest `T_s`: a threshold of 2^24, far beyond every use. */
export const MAX_THRESHOLD_SCALED = 1n << 40n;

/** Quantiles of the thresholds of levels 1, 2 and 3, unless told otherwise. */
export const DEFAULT_LEVEL_QUANTILES = [0.975, 0.99, 0.999] as const;

/** Quantile of the chi-square distribution that is the threshold unless told otherwise. */
export const DEFAULT_QUANTILE = 0.975;

/**
 * `T_s = round(2^16·x)`, `x` the chi-square quantile: an ordinary sample exceeds it with probability
 * `1 - quantile`.
 * @param quantile strictly between 0 and 1
 * @param k degrees of freedom: the number of channels
 * @throws DuoveilError SCHEMA_INVALID as {@link chiSquareQuantile}, and where the result is 0
 */
export function scaledThreshold(quantile: number, k: number): bigint {
  // A power of two: the product is exact, so this rounds once.
  return checked(BigInt(Math.round(Number(THRESHOLD_SCALE) * chiSquareQuantile(quantile, k))));
}

/**
 * `T_s` of a threshold that is given outright, rounded to the nearest multiple of 2^-16.
 * @param threshold a decimal number greater than 0, as text or as a number
 * @throws DuoveilError SCHEMA_INVALID where it is none, or rounds to 0, or is above 2^24
 */
export function parseThreshold(threshold: string | number): bigint {
  const value = parseDecimal(threshold);
  if (value === undefined || value.units <= 0n) {
    const message = 'threshold must be a decimal number greater than 0, such as 11.14';
    throw duoveilError('SCHEMA_INVALID', message, { field: 'threshold' });
  }
  return checked(roundHalfUp(value.units * THRESHOLD_SCALE, 10n ** BigInt(value.scale)));
}

function checked(thresholdScaled: bigint): bigint {
  if (thresholdScaled < 1n || thresholdScaled > MAX_THRESHOLD_SCALED) {
    const message = 'threshold must lie between 2^-16 and 2^24';
    throw duoveilError('SCHEMA_INVALID', message, { field: 'threshold' });
  }
  return thresholdScaled;
}
