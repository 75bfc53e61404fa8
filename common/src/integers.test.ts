import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bitLength, gcd, roundHalfUp } from './integers.js';

describe('bitLength', () => {
  it('is 0 for 0 and counts binary digits otherwise', () => {
    expect(bitLength(0n)).toBe(0);
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: 1n << 300n }), (value) => {
        expect(bitLength(value)).toBe(value.toString(2).length);
      }),
    );
  });

  it('is exact around powers of two', () => {
    for (const exponent of [1, 3, 4, 5, 31, 32, 33, 63, 64, 512, 2048]) {
      const value = 1n << BigInt(exponent);
      expect([value - 1n, value, value + 1n].map(bitLength)).toEqual([
        exponent,
        exponent + 1,
        exponent + 1,
      ]);
    }
  });
});

it('gcd divides both and is divided by every common divisor', () => {
  expect([gcd(0n, 0n), gcd(0n, -6n), gcd(-12n, 18n)]).toEqual([0n, 6n, 6n]);
  const some = fc.bigInt({ min: 1n, max: 1n << 64n });
  fc.assert(
    fc.property(some, some, some, (a, b, common) => {
      expect(gcd(a * common, b * common)).toBe(gcd(a, b) * common);
      expect(gcd(a / gcd(a, b), b / gcd(a, b))).toBe(1n);
    }),
  );
});

it('roundHalfUp rounds a half up and refuses what it does not define', () => {
  expect([0n, 1n, 2n, 3n, 4n, 5n, 6n].map((x) => roundHalfUp(x, 4n))).toEqual([
    0n,
    0n,
    1n,
    1n,
    1n,
    1n,
    2n,
  ]);
  expect(() => roundHalfUp(-1n, 2n)).toThrow(RangeError);
  expect(() => roundHalfUp(1n, 0n)).toThrow(RangeError);
});
