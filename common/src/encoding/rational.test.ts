import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareToScaled, isOutlier, makeRational, reconstruct, toNumber } from './rational.js';

const long = process.env['DUOVEIL_LONG_TESTS'] === '1';
const runs = { numRuns: long ? 20_000 : 500 };

/** `base^exponent mod modulus`, for tests. */
function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let b = base, e = exponent; e > 0n; e >>= 1n, b = (b * b) % modulus) {
    if (e % 2n === 1n) result = (result * b) % modulus;
  }
  return result;
}

/** A prime modulus: inverses by Fermat. */
const P = 2n ** 255n - 19n;
const residueOf = (numerator: bigint, denominator: bigint, modulus = P) =>
  (((numerator % modulus) + modulus) * power(denominator, modulus - 2n, modulus)) % modulus;

describe('makeRational', () => {
  it('is in lowest terms with a positive denominator', () => {
    expect(makeRational(6n, -4n)).toEqual({ numerator: -3n, denominator: 2n });
    expect(makeRational(0n, -7n)).toEqual({ numerator: 0n, denominator: 1n });
    expect(() => makeRational(1n, 0n)).toThrow(RangeError);
  });
});

describe('reconstruct', () => {
  it('recovers every rational within the bounds', () => {
    const A = 2n ** 150n;
    const B = 2n ** 103n;
    fc.assert(
      fc.property(fc.bigInt(-A, A), fc.bigInt(1n, B), (numerator, denominator) => {
        const found = reconstruct(residueOf(numerator, denominator), P, A, B);
        expect(found).toEqual(makeRational(numerator, denominator));
      }),
      runs,
    );
  });

  it('is exhaustively right for a small prime: all there are, and nothing else', () => {
    const [modulus, A, B] = [211n, 15n, 7n];
    const expected = new Map<bigint, { numerator: bigint; denominator: bigint }>();
    for (let n = -A; n <= A; n++) {
      for (let d = 1n; d <= B; d++) expected.set(residueOf(n, d, modulus), makeRational(n, d));
    }
    for (let residue = 0n; residue < modulus; residue++) {
      expect(reconstruct(residue, modulus, A, B)).toEqual(expected.get(residue));
    }
  });

  it('works with a composite modulus', () => {
    const N = P * (2n ** 221n - 3n);
    // 1/3 mod N
    const third = N % 3n === 1n ? (2n * N + 1n) / 3n : (N + 1n) / 3n;
    expect(reconstruct(third * -22n, N, 22n, 3n)).toEqual({ numerator: -22n, denominator: 3n });
  });

  it('reaches its bounds exactly, and refuses beyond them', () => {
    const A = 2n ** 127n - 1n;
    const B = 2n ** 127n - 3n;
    expect(2n * A * B < P).toBe(true);
    const residue = residueOf(A, B);
    expect(reconstruct(residue, P, A, B)).toEqual(makeRational(A, B));
    expect(reconstruct(residue, P, A - 1n, B)).toBeUndefined();
    expect(reconstruct(residue, P, A, B - 1n)).toBeUndefined();
    expect(reconstruct(residueOf(-A, B), P, A, B)).toEqual(makeRational(-A, B));
  });

  it('takes the modulus just above 2AB, and not at it', () => {
    expect(reconstruct(residueOf(-15n, 7n, 211n), 211n, 15n, 7n)).toEqual({
      numerator: -15n,
      denominator: 7n,
    });
    expect(() => reconstruct(1n, 210n, 15n, 7n)).toThrow(RangeError);
    expect(() => reconstruct(1n, 211n, -1n, 7n)).toThrow(RangeError);
    expect(() => reconstruct(1n, 211n, 15n, 0n)).toThrow(RangeError);
  });

  it('recovers zero and whole numbers', () => {
    expect(reconstruct(0n, P, 9n, 9n)).toEqual({ numerator: 0n, denominator: 1n });
    expect(reconstruct(P - 5n, P, 9n, 9n)).toEqual({ numerator: -5n, denominator: 1n });
    expect(reconstruct(-5n, P, 9n, 9n)).toEqual({ numerator: -5n, denominator: 1n });
  });

  it('never returns what has not the residue or exceeds the bounds', () => {
    const bound = 2n ** 126n;
    let found = 0;
    fc.assert(
      fc.property(fc.bigInt(0n, P - 1n), (residue) => {
        const result = reconstruct(residue, P, bound, bound);
        if (result === undefined) return;
        found++;
        const { numerator, denominator } = result;
        expect((residue * denominator - numerator) % P).toBe(0n);
        expect(numerator <= bound && numerator >= -bound).toBe(true);
        expect(denominator >= 1n && denominator <= bound).toBe(true);
        expect(makeRational(numerator, denominator)).toEqual(result);
      }),
      runs,
    );
    expect(found).toBeGreaterThan(0);
  });
});

describe('toNumber', () => {
  it.each([
    [1n, 3n, 1 / 3],
    [-2n, 3n, -2 / 3],
    [0n, 5n, 0],
    [2n ** 53n + 1n, 1n, 2 ** 53], // a tie, to even below
    [2n ** 53n + 3n, 1n, 2 ** 53 + 4], // a tie, to even above
    [2n ** 54n - 1n, 1n, 2 ** 54], // rounds up into the next power of two
    [2n ** 1024n - 2n ** 970n - 1n, 1n, Number.MAX_VALUE],
    [2n ** 1024n - 2n ** 970n, 1n, Infinity], // a tie, away from the largest
    [-(2n ** 2000n), 1n, -Infinity],
    [1n, 2n ** 1074n, Number.MIN_VALUE],
    [1n, 2n ** 1075n, 0], // a tie, to even: zero
    [2n ** 60n + 1n, 2n ** 1135n, Number.MIN_VALUE], // just above that tie
    [3n, 2n ** 1075n, 2 * Number.MIN_VALUE], // a tie between subnormals
    [2n ** 53n - 1n, 2n ** 1075n, 2.2250738585072014e-308], // up to the smallest normal
    [1n, 10n ** 400n, 0],
    [10n ** 400n + 1n, 10n ** 400n, 1],
  ])('rounds %d / %d once', (numerator, denominator, expected) => {
    expect(toNumber({ numerator, denominator })).toBe(expected);
  });

  it('is IEEE division for operands that are doubles', () => {
    const operand = fc.bigInt(1n, 2n ** 53n);
    fc.assert(
      fc.property(operand, operand, (n, d) => {
        expect(toNumber({ numerator: n, denominator: d })).toBe(Number(n) / Number(d));
      }),
      runs,
    );
  });

  it('is what decimal parsing gives for any power of ten', () => {
    fc.assert(
      fc.property(fc.bigInt(1n, 10n ** 40n), fc.integer({ min: -360, max: 310 }), (n, e) => {
        const [up, down] = e >= 0 ? [10n ** BigInt(e), 1n] : [1n, 10n ** BigInt(-e)];
        expect(toNumber({ numerator: n * up, denominator: down })).toBe(Number(`${n}e${e}`));
      }),
      runs,
    );
  });
});

describe('comparison with a threshold', () => {
  it('is exact, and equal is no outlier', () => {
    const third = { numerator: 1n, denominator: 3n };
    expect(compareToScaled(third, 21_845n)).toBe(1); // 21845/65536 < 1/3
    expect(compareToScaled(third, 21_846n)).toBe(-1);
    expect(compareToScaled({ numerator: 3n, denominator: 2n }, 98_304n)).toBe(0);
    expect(isOutlier({ numerator: 3n, denominator: 2n }, 98_304n)).toBe(false);
    expect(
      isOutlier({ numerator: 3n * 10n ** 40n + 1n, denominator: 2n * 10n ** 40n }, 98_304n),
    ).toBe(true);
  });
});
