/**
 * Operators who sign in with a token. The file says who they are, which role each has, and the
 * SHA-256 of the token: a token of 256 random bits needs no slower hash, and cannot be found from it.
 *
 * ```yaml
 * operators:
 *   - { name: alice, role: operator, tokenSha256: 0f34… }
 * ```
 */
import { createHash, timingSafeEqual } from 'node:crypto';

import { duoveilError } from '@duoveil/common/errors';
import { firstIssue } from '@duoveil/common/runtime';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';

import { operatorRoles, type OperatorRole } from './roles.js';

/** A name stands in logs, alarms and answers as it is. */
export const operatorName = z
  .string()
  .regex(/^[A-Za-z0-9._@+-]{1,64}$/, 'must be 1 to 64 of A-Z, a-z, 0-9 and . _ @ + -');

const fileSchema = z.strictObject({
  operators: z
    .array(
      z.strictObject({
        name: operatorName,
        role: z.enum(operatorRoles),
        tokenSha256: z
          .string()
          .regex(
            /^[0-9a-f]{64}$/,
            'must be 64 hexadecimal digits, as "duoveil operator token" gives',
          ),
      }),
    )
    .max(1000),
});

/** One operator of the file. */
export interface TokenOperator {
  readonly name: string;
  readonly role: OperatorRole;
  /** Lower-case hexadecimal. */
  readonly tokenSha256: string;
}

/** All operators who have a token. */
export class TokenOperators {
  readonly #operators: readonly (TokenOperator & { readonly digest: Buffer })[];

  constructor(operators: readonly TokenOperator[]) {
    this.#operators = operators.map((operator) => ({
      ...operator,
      digest: Buffer.from(operator.tokenSha256, 'hex'),
    }));
  }

  /** Whose token this is. Takes as long whoever's it is, and whether or not it is anybody's. */
  ofToken(token: string): TokenOperator | undefined {
    const digest = createHash('sha256').update(token, 'utf8').digest();
    let found: TokenOperator | undefined;
    for (const operator of this.#operators) {
      if (timingSafeEqual(operator.digest, digest)) found ??= operator;
    }
    return found;
  }

  /** The operator with this token's hash, if the file still has one. */
  ofHash(tokenSha256: string): TokenOperator | undefined {
    return this.#operators.find((operator) => operator.tokenSha256 === tokenSha256);
  }
}

/**
 * Reads the file.
 * @param where its name, for errors
 * @throws DuoveilError `CONFIG_INVALID`
 */
export function parseOperators(text: string, where: string): TokenOperators {
  let content: unknown;
  try {
    content = parseYaml(text);
  } catch {
    throw invalid(where, 'not YAML');
  }
  const result = fileSchema.safeParse(content);
  if (!result.success) {
    const { path, message } = firstIssue(result.error);
    throw invalid(where, `${path || 'content'}: ${message}`);
  }
  const { operators } = result.data;
  for (const key of ['name', 'tokenSha256'] as const) {
    const values = operators.map((operator) => operator[key]);
    const twice = values.findIndex((value, i) => values.indexOf(value) !== i);
    if (twice >= 0) throw invalid(where, `operators.${String(twice)}.${key}: is there twice`);
  }
  return new TokenOperators(operators);
}

function invalid(where: string, what: string): Error {
  return duoveilError('CONFIG_INVALID', `${where}: ${what}`, { path: 'httpOperatorsFile' });
}
