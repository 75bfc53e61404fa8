/**
 * Small matrices over the integers modulo `m`, where `m` is prime or has only factors so large that
 * a random element is a unit. Entries are in `[0, m)`; a matrix is a list of rows.
 */
import { modInv } from 'bigint-crypto-utils';

import { uniformBelow, type RandomSource } from '../random.js';

/** A square matrix, by rows. */
export type Matrix = readonly (readonly bigint[])[];

/** The product of two matrices modulo `m`. */
export function multiplyMatrices(left: Matrix, right: Matrix, m: bigint): bigint[][] {
  const columns = right[0]?.length ?? 0;
  return left.map((row) =>
    Array.from({ length: columns }, (_, j) =>
      row.reduce((sum, entry, k) => (sum + entry * (right[k]?.[j] ?? 0n)) % m, 0n),
    ),
  );
}

/** A matrix that inverts another one, and the determinant of that other one. */
export interface InvertedMatrix {
  readonly inverse: bigint[][];
  readonly determinant: bigint;
}

/**
 * Invert modulo `m` by Gauss-Jordan elimination.
 * @returns undefined where no pivot of some column is a unit: the matrix is singular modulo `m`.
 */
export function invertMatrix(matrix: Matrix, m: bigint): InvertedMatrix | undefined {
  const size = matrix.length;
  const rows = matrix.map((row, i) => [
    ...row,
    ...Array.from({ length: size }, (_, j) => (i === j ? 1n : 0n)),
  ]);
  let determinant = 1n;
  for (let column = 0; column < size; column++) {
    const found = unitPivot(rows, column, m);
    if (found === undefined) return undefined;
    const [pivotRow, pivot, inverse] = found;
    if (pivotRow !== column) {
      const swapped = rows[column] ?? [];
      rows[column] = rows[pivotRow] ?? [];
      rows[pivotRow] = swapped;
      determinant = m - determinant;
    }
    determinant = (determinant * pivot) % m;
    const scaled = (rows[column] ?? []).map((entry) => (entry * inverse) % m);
    rows.forEach((row, i) => {
      const factor = row[column] ?? 0n;
      rows[i] =
        i === column
          ? scaled
          : row.map((entry, j) => (entry + (m - factor) * (scaled[j] ?? 0n)) % m);
    });
  }
  return { inverse: rows.map((row) => row.slice(size)), determinant: determinant % m };
}

/** A uniform element of `GL_size(Z_m)`, with its inverse and determinant. */
export function uniformInvertible(
  size: number,
  m: bigint,
  random: RandomSource,
): InvertedMatrix & { readonly matrix: bigint[][] } {
  for (;;) {
    const matrix = Array.from({ length: size }, () =>
      Array.from({ length: size }, () => uniformBelow(m, random)),
    );
    const inverted = invertMatrix(matrix, m);
    if (inverted !== undefined) return { matrix, ...inverted };
  }
}

function unitPivot(
  rows: readonly (readonly bigint[])[],
  column: number,
  m: bigint,
): [row: number, pivot: bigint, inverse: bigint] | undefined {
  for (let row = column; row < rows.length; row++) {
    const pivot = rows[row]?.[column] ?? 0n;
    try {
      return [row, pivot, modInv(pivot, m)];
    } catch {
      // Not a unit: the next row may have one.
    }
  }
  return undefined;
}
