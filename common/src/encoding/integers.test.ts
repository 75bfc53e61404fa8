import fc from 'fast-check';
import { expect, it } from 'vitest';
import { bitLength, gcd, roundHalfUp } from './integers.js';

it('bitLength is the length in base two', () => {
  expect([0n, 1n, -1n, 255n, 256n].map(bitLength)).toEqual([0, 1, 1, 8, 9]);
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: 1n << 300n }), (x) => {
      expect(bitLength(x)).toBe(x.toString(2).length);
    }),
  );
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
