import { bitLength } from '../random.js';

/** A prime field, by its order. */
export interface PrimeField {
  /** `P`, prime. */
  readonly order: bigint;
  /** Bits of `P`. */
  readonly bits: number;
}

/** The fields that packed protocols may work in, smallest first. All orders are prime. */
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
].map((order) => ({ order, bits: bitLength(order) }));

/** The smallest field whose order exceeds a bound, or undefined where none does. */
export function smallestField(bound: bigint): PrimeField | undefined {
  return FIELDS.find(({ order }) => order > bound);
}
