import { bitLength } from '../integers.js';

/** A prime field, by its order. */
export interface PrimeField {
  /** `P`, prime. */
  readonly order: bigint;
  /** Bits of `P`. */
  readonly bits: number;
}

/**
 * The fields that packed protocols may work in, smallest first. All orders are prime. Whatever a
 * schema may be, the last one is large enough.
 */
export const FIELDS: readonly PrimeField[] = [
  2n ** 221n - 3n,
  2n ** 255n - 19n,
  2n ** 285n - 9n,
  2n ** 336n - 3n,
  2n ** 383n - 187n,
  2n ** 414n - 17n,
  2n ** 468n - 17n,
  2n ** 521n - 1n,
  2n ** 607n - 1n,
  2n ** 704n - 245n,
  2n ** 832n - 143n,
  2n ** 960n - 167n,
  2n ** 1024n - 105n,
].map((order) => ({ order, bits: bitLength(order) }));

/**
 * The smallest field whose order exceeds a bound.
 * @throws RangeError where none does: the bound is no valid schema's
 */
export function smallestField(bound: bigint): PrimeField {
  const field = FIELDS.find(({ order }) => order > bound);
  if (field === undefined) throw new RangeError('no field is as large');
  return field;
}
