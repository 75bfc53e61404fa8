/** How many ciphertexts each message of the packed suite has: what a receiver checks. */
import type { PackingPlan } from '../../encoding/packing-plan.js';
import { inParts } from '../../lists.js';

/** Counts of ciphertexts, by message. */
export interface MessageCounts {
  /** Of a sample, and of the sums over a window. */
  readonly sample: number;
  /** Of a row of the Gram matrix, and of all of them. */
  readonly matrixRow: number;
  readonly matrix: number;
  /** Of a column of its inverse, and of all of them. */
  readonly inverseColumn: number;
  readonly inverse: number;
  /** Of the masked coefficients, column by column. */
  readonly coefficientColumns: readonly number[];
  /** Of a score's request. */
  readonly score: number;
  /** Features: terms of every combination over them. */
  readonly features: number;
}

/** The counts that follow from a plan. */
export function messageCounts(plan: PackingPlan): MessageCounts {
  const lines = plan.p + 1;
  const matrixRow = Math.ceil(lines / plan.matrixSlots.perPlaintext);
  const inverseColumn = Math.ceil(lines / plan.coefficientSlots.perPlaintext);
  return {
    sample: plan.plaintexts,
    matrixRow,
    matrix: lines * matrixRow,
    inverseColumn,
    inverse: lines * inverseColumn,
    coefficientColumns: Array.from({ length: lines }, (_, column) =>
      Math.ceil((column + 1) / plan.coefficientSlots.perPlaintext),
    ),
    score: Math.max(plan.plaintexts, plan.crossTerm.plaintext + 1),
    features: plan.features.length,
  };
}

/**
 * A flat list as lines: all of one length, or each of its own.
 * @param lengths ciphertexts a line
 */
export function inLines<T>(list: readonly T[], lengths: number | readonly number[]): T[][] {
  if (typeof lengths === 'number') return inParts(list, lengths);
  let next = 0;
  return lengths.map((length) => list.slice(next, (next += length)));
}
