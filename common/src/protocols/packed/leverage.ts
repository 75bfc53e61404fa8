/** From the leverage modulo `P` to the exact squared Mahalanobis distance. */
import { determinantBound, numeratorBound } from '../../encoding/bounds.js';
import { makeRational, reconstruct, type Rational } from '../../encoding/rational.js';
import type { PackingPlan } from '../../encoding/packing-plan.js';
import type { Schema } from '../../encoding/schema.js';

/**
 * `MD² = (n-1)(h - 1/n)`, `h = num/det` reconstructed with the bounds of numerator and determinant.
 * @returns undefined where no sample of the schema has this leverage
 */
export function distanceOfLeverage(
  residue: bigint,
  { field, window }: PackingPlan,
  schema: Schema,
): Rational | undefined {
  const leverage = reconstruct(
    residue,
    field.order,
    numeratorBound(schema, window),
    determinantBound(schema, window),
  );
  if (leverage === undefined) return undefined;
  const size = BigInt(window);
  const { numerator, denominator } = leverage;
  const distance = makeRational((size - 1n) * (size * numerator - denominator), size * denominator);
  return distance.numerator < 0n ? undefined : distance;
}
