import fc from 'fast-check';
import { distanceBounds, makeRational, scaleOf, selectChannels } from '@duoveil/common/encoding';
import { describe, expect, it } from 'vitest';
import { adjugate } from './adjugate.js';
import { exactMd2 } from './model.js';

const schema = selectChannels(['HR', 'RESP', 'SpO2']);
const scales = schema.channels.map(scaleOf);
const F = scales.map((scale) => scale.F);
const sample = fc.tuple(
  ...scales.map(({ D }) => fc.oneof(fc.bigInt(0n, D), fc.constantFrom(0n, D))),
);
const windows = fc.array(sample, { minLength: 5, maxLength: 20 });

describe('exactMd2', () => {
  it('is what it is by hand', () => {
    // μ = 2, Σ(x-μ)² = 1 + 0 + 0 + 4 + 1 = 6, S = 6/4, S⁺ = 3/2 + 3 = 9/2, (7-2)² = 25
    expect(exactMd2([[1n], [2n], [2n], [4n], [1n]], [7n], [3n])).toEqual(
      makeRational(25n * 2n, 9n),
    );
  });

  it('survives a window that does not vary at all', () => {
    const still = [740n, 150n, 670n];
    expect(exactMd2([still, still, still], still, F)).toEqual(makeRational(0n, 1n));
    expect(exactMd2([still, still, still], [760n, 150n, 670n], F)).toEqual(makeRational(1n, 1n));
  });

  it('is the leverage of the design: (n-1)(h - 1/n) with h = num/det', () => {
    fc.assert(
      fc.property(windows, sample, (window, x) => {
        const n = BigInt(window.length);
        const z = [1n, ...x];
        const gram = z.map((_, j) =>
          z.map((__, k) => {
            const product = (row: bigint[]) => ([1n, ...row][j] ?? 0n) * ([1n, ...row][k] ?? 0n);
            const moment = window.reduce((sum, row) => sum + product(row), 0n);
            return j === k && j > 0 ? moment + (n - 1n) * (F[j - 1] ?? 0n) : moment;
          }),
        );
        const { adjugate: adj, determinant: det } = adjugate(gram);
        const num = adj.reduce(
          (sum, row, j) => sum + row.reduce((s, v, k) => s + v * (z[j] ?? 0n) * (z[k] ?? 0n), 0n),
          0n,
        );
        const md2 = exactMd2(window, x, F);
        expect(md2).toEqual(makeRational((n - 1n) * (n * num - det), n * det));
        const bounds = distanceBounds(schema, window.length);
        expect(md2.numerator <= bounds.numerator && md2.denominator <= bounds.denominator).toBe(
          true,
        );
      }),
    );
  });

  it('refuses what has no answer', () => {
    expect(() => exactMd2([[1n]], [1n], [1n])).toThrow(RangeError);
    expect(() => exactMd2([[1n], [2n]], [1n], [0n])).toThrow(RangeError);
    expect(() => exactMd2([[1n], [2n, 3n]], [1n], [1n])).toThrow(RangeError);
    expect(() => exactMd2([[1n], [2n]], [1n, 2n], [1n])).toThrow(RangeError);
  });
});
