import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { align, compareDecimals, formatDecimal, parseDecimal } from './decimal.js';

describe('parseDecimal', () => {
  it.each([
    ['94', 94n, 0],
    ['-0.50', -50n, 2],
    ['.5', 5n, 1],
    ['5.', 5n, 0],
    ['+1.2e-3', 12n, 4],
    ['1.2E3', 1200n, 0],
    ['  7 ', 7n, 0],
    [0.1, 1n, 1],
    [-0, 0n, 0],
    [1e21, 10n ** 21n, 0],
    [1.5e-7, 15n, 8],
    [5e-324, 5n, 324],
  ])('reads %j exactly', (input, units, scale) => {
    expect(parseDecimal(input)).toEqual({ units, scale });
  });

  it.each(['', ' ', '.', '-', 'e5', '1e', '1.2.3', '1,5', '0x10', 'NaN', 'Infinity', '1 2', '٣'])(
    'refuses %j',
    (input) => {
      expect(parseDecimal(input)).toBeUndefined();
    },
  );

  it.each([NaN, Infinity, -Infinity])('refuses %d', (input) => {
    expect(parseDecimal(input)).toBeUndefined();
  });

  it('refuses what would take unreasonable memory', () => {
    expect(parseDecimal('1e999999999')).toBeUndefined();
    expect(parseDecimal('1e-999999999')).toBeUndefined();
    expect(parseDecimal('1'.repeat(401))).toBeUndefined();
  });

  it('reads every finite double, and writes it back', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (x) => {
        const value = parseDecimal(x);
        expect(value).toBeDefined();
        if (value !== undefined) expect(Number(formatDecimal(value))).toBe(x + 0);
      }),
    );
  });
});

describe('formatDecimal', () => {
  it.each([
    ['0.10', '0.1'],
    ['1e2', '100'],
    ['-00.5', '-0.5'],
    ['-0.0', '0'],
    ['1200e-2', '12'],
    ['.05', '0.05'],
  ])('writes %j as %j', (input, canonical) => {
    const value = parseDecimal(input);
    expect(value && formatDecimal(value)).toBe(canonical);
  });

  it('gives equal numbers equal texts', () => {
    fc.assert(
      fc.property(fc.bigInt(-(10n ** 12n), 10n ** 12n), fc.nat(12), fc.nat(5), (units, s, k) => {
        const other = { units: units * 10n ** BigInt(k), scale: s + k };
        expect(compareDecimals(other, { units, scale: s })).toBe(0);
        expect(formatDecimal(other)).toBe(formatDecimal({ units, scale: s }));
      }),
    );
  });
});

describe('align', () => {
  it('writes numbers over one power of ten', () => {
    expect(align({ units: 5n, scale: 0 }, { units: -25n, scale: 2 })).toEqual({
      units: [500n, -25n],
      scale: 2,
    });
    expect(align()).toEqual({ units: [], scale: 0 });
  });

  it('orders as numbers are ordered', () => {
    expect(compareDecimals({ units: 3n, scale: 1 }, { units: 31n, scale: 2 })).toBe(-1);
    expect(compareDecimals({ units: 1n, scale: 0 }, { units: -1n, scale: 5 })).toBe(1);
  });
});
