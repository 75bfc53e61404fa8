import { duoveilError } from '../errors.js';
import { requireReferenceFits } from './bounds.js';
import { packingPlanOf } from './packing-plan.js';
import type { MonitoringPolicy } from './policy.js';
import type { Schema } from './schema.js';

/**
 * Can a policy's suite compute exactly with these parameters?
 * @throws DuoveilError `BOUNDS_EXCEEDED` where schema and window do not fit the modulus;
 * `SCHEMA_INVALID` where the packed suite meets a generator of the `bcp03` family
 */
export function requireFits(
  schema: Schema,
  policy: MonitoringPolicy,
  parameters: { readonly family: 'bcp03' | 'residue'; readonly bits: number },
): void {
  if (policy.suite === 'reference') {
    requireReferenceFits(schema, policy.window, parameters.bits);
    return;
  }
  if (parameters.family !== 'residue') {
    throw duoveilError(
      'SCHEMA_INVALID',
      'suite must be reference: the packed suite needs a generator of the residue family',
      { field: 'suite' },
    );
  }
  packingPlanOf(schema, policy, parameters.bits);
}
