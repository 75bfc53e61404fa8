import fc from 'fast-check';
import { expect, it } from 'vitest';
import { adjugate } from './adjugate.js';

it('is the determinant times the inverse', () => {
  expect(
    adjugate([
      [2n, 1n],
      [1n, 3n],
    ]),
  ).toEqual({
    adjugate: [
      [3n, -1n],
      [-1n, 2n],
    ],
    determinant: 5n,
  });
  expect(adjugate([[7n]])).toEqual({ adjugate: [[1n]], determinant: 7n });
});

it('multiplies with the matrix to the determinant, for any positive definite one', () => {
  const entry = fc.bigInt(-(10n ** 6n), 10n ** 6n);
  const matrices = fc.integer({ min: 1, max: 8 }).chain((size) =>
    fc.array(fc.array(entry, { minLength: size, maxLength: size }), {
      minLength: size,
      maxLength: size,
    }),
  );
  fc.assert(
    fc.property(matrices, (root) => {
      // root·rootᵀ + I is positive definite.
      const matrix = root.map((a, i) =>
        root.map((b, j) => a.reduce((s, x, k) => s + x * (b[k] ?? 0n), i === j ? 1n : 0n)),
      );
      const result = adjugate(matrix);
      const product = matrix.map((row) =>
        row.map((_, j) => row.reduce((s, x, k) => s + x * (result.adjugate[k]?.[j] ?? 0n), 0n)),
      );
      expect(product).toEqual(
        matrix.map((row, i) => row.map((_, j) => (i === j ? result.determinant : 0n))),
      );
    }),
  );
});

it('refuses what is not positive definite', () => {
  expect(() => adjugate([[0n]])).toThrow(RangeError);
  expect(() =>
    adjugate([
      [1n, 2n],
      [2n, 4n],
    ]),
  ).toThrow(RangeError);
});
