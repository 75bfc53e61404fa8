/** One place turns a validation failure into an error that names the field. */
import type { z } from 'zod';
import { duoveilError } from '../errors.js';

/**
 * Validate untrusted data against a description.
 * @param where what is being read, for the message
 * @throws DuoveilError SCHEMA_INVALID that names the first wrong field, such as `channels[1].min`
 */
export function parseWith<T>(description: z.ZodType<T>, value: unknown, where: string): T {
  const result = description.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = fieldOf(issue?.path ?? []);
  const message =
    issue?.code === 'unrecognized_keys'
      ? `has no field ${issue.keys.map((key) => JSON.stringify(key)).join(', ')}`
      : (issue?.message ?? 'is not valid');
  throw duoveilError('SCHEMA_INVALID', `${where}: ${field === '' ? 'it' : field} ${message}`, {
    field,
  });
}

function fieldOf(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) =>
      typeof key === 'number' ? `[${key}]` : `${index === 0 ? '' : '.'}${String(key)}`,
    )
    .join('');
}
