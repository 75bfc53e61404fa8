/** Adjugate and determinant of an integer matrix, exactly and without a fraction. */

/** A square matrix, by rows. */
export type IntegerMatrix = readonly (readonly bigint[])[];

/** What there is instead of an inverse over the integers: `matrix · adjugate = determinant · I`. */
export interface Adjugate {
  readonly adjugate: IntegerMatrix;
  readonly determinant: bigint;
}

/**
 * Adjugate and determinant of a positive definite integer matrix, by fraction-free Gauss-Jordan
 * elimination of `[matrix | I]`: Bareiss, *Sylvester's identity and multistep integer-preserving
 * Gaussian elimination*, Mathematics of Computation 22(103), 1968. Every division is exact, and the
 * pivots are the leading principal minors, which are positive: none has to be sought.
 * @throws RangeError where the matrix is not positive definite
 */
export function adjugate(matrix: IntegerMatrix): Adjugate {
  const size = matrix.length;
  let rows: bigint[][] = matrix.map((row, i) => [
    ...row,
    ...row.map((_, j) => (i === j ? 1n : 0n)),
  ]);
  let previous = 1n;
  for (let k = 0; k < size; k++) {
    const pivotRow = rows[k] ?? [];
    const pivot = pivotRow[k] ?? 0n;
    if (pivot <= 0n) throw new RangeError('the matrix must be positive definite');
    rows = rows.map((row, i) => {
      if (i === k) return row;
      const factor = row[k] ?? 0n;
      return row.map((entry, j) => (pivot * entry - factor * (pivotRow[j] ?? 0n)) / previous);
    });
    previous = pivot;
  }
  return { adjugate: rows.map((row) => row.slice(size)), determinant: previous };
}
