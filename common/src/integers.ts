/** A few functions of integers; exact for any size. Not for secrets: their time depends on the values. */

/** Bits in the binary representation of `|value|`; 0 for 0. */
export function bitLength(value: bigint): number {
  const magnitude = value < 0n ? -value : value;
  if (magnitude === 0n) return 0;
  const hex = magnitude.toString(16);
  return 4 * (hex.length - 1) + (32 - Math.clz32(parseInt(hex.charAt(0), 16)));
}

/** Greatest common divisor, non-negative; `gcd(0, 0) = 0`. */
export function gcd(a: bigint, b: bigint): bigint {
  let [u, v] = [a < 0n ? -a : a, b < 0n ? -b : b];
  while (v !== 0n) [u, v] = [v, u % v];
  return u;
}

/**
 * `floor(numerator/denominator + 1/2)`: the nearest integer, a half rounded up.
 * @param numerator not negative: a half of either sign would otherwise need a convention
 * @param denominator greater than 0
 * @throws RangeError outside of these: a defect of the caller
 */
export function roundHalfUp(numerator: bigint, denominator: bigint): bigint {
  if (numerator < 0n || denominator <= 0n) {
    throw new RangeError('roundHalfUp takes a numerator >= 0 and a denominator > 0');
  }
  return (2n * numerator + denominator) / (2n * denominator);
}
