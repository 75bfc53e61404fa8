/** Blinded arithmetic: decode, check, play the CSP's role, encode. */
import {
  decodeOpenings,
  encodeCiphertext,
  type Bcp,
  type Ciphertext,
  type EncodedCiphertext,
  type MaskedOpening,
  type StrongDecryption,
} from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import { inPairs } from '@duoveil/common/lists';
import {
  answerDifferences,
  answerInverse,
  answerOpening,
  answerProducts,
  answerQuotients,
  type CryptoServiceProviderRole,
  type MaskedPair,
} from '@duoveil/common/protocols/reference';
import { bytesFromInteger, type RandomSource } from '@duoveil/common/random';
import { implement, metrics, unary, type CallContext, type Service } from '@duoveil/common/runtime';
import { BlindedArithmeticServiceService, type MaskedPair as WirePair } from '@duoveil/proto';

import type { Discipline } from '../audit/discipline.js';
import type { PatientKeys } from '../keys/patient-keys.js';

/** Values in one call at most: bounds the work of a request. */
const VALUES_PER_CALL = 64;

/** The largest matrix is that of the largest schema. */
const MAX_DIMENSION = 8;

/** What the handlers work with. */
export interface ArithmeticEnvironment {
  readonly bcp: Bcp;
  readonly keys: PatientKeys;
  readonly decryption: StrongDecryption;
  readonly random: RandomSource;
  readonly discipline: Discipline;
}

/** Who may make the calls, and for how long. */
export const arithmeticOptions = { roles: ['sp'], timeoutMs: 120_000 } as const;

/** The service, for service providers only. */
export function arithmeticService(environment: ArithmeticEnvironment): Service {
  const { random } = environment;
  return implement(BlindedArithmeticServiceService, {
    subtract: unary(arithmeticOptions, async ({ keyId, pairs }, context) => {
      const csp = await admitted('Subtract', keyId, environment, context);
      const masked = await decodePairs(pairs, environment);
      return { results: encode(await answerDifferences(csp, masked, random), environment) };
    }),
    multiply: unary(arithmeticOptions, async ({ keyId, pairs }, context) => {
      const csp = await admitted('Multiply', keyId, environment, context);
      const masked = await decodePairs(pairs, environment);
      return { results: encode(await answerProducts(csp, masked, random), environment) };
    }),
    divide: unary(arithmeticOptions, async ({ keyId, divisor, values }, context) => {
      const csp = await admitted('Divide', keyId, environment, context);
      requireThat(divisor >= 1, 'divisor', 'must be at least 1');
      const openings = await decodeValues(values, 'values', environment);
      const answer = await answerQuotients(csp, openings, BigInt(divisor), random);
      return { results: encode(answer, environment) };
    }),
    invertMatrix: unary(arithmeticOptions, async ({ keyId, dimension, entries }, context) => {
      const csp = await admitted('InvertMatrix', keyId, environment, context);
      requireThat(
        dimension >= 1 && dimension <= MAX_DIMENSION,
        'dimension',
        `must be from 1 to ${String(MAX_DIMENSION)}`,
      );
      requireThat(entries.length === dimension ** 2, 'entries', 'must be dimension² in number');
      const openings = await decodeValues(entries, 'entries', environment);
      return {
        entries: encode(await answerInverse(csp, dimension, openings, random), environment),
      };
    }),
    open: unary(arithmeticOptions, async ({ keyId, values }, context) => {
      const csp = await admitted('Open', keyId, environment, context);
      const openings = await decodeValues(values, 'values', environment);
      const width = environment.bcp.parameters.plaintextBytes;
      const opened = await answerOpening(csp, openings);
      return { values: opened.map((value) => bytesFromInteger(value, width)) };
    }),
  });
}

/**
 * Every operation is a distance-output call: it opens values that nothing shows to be masked, and what
 * it computes is encrypted under a key of the caller's choice, which may be the caller's own.
 * @throws DuoveilError `KEY_NOT_REGISTERED`, `OUTPUT_NOT_ALLOWED`, `BUDGET_EXCEEDED`
 */
async function admitted(
  method: string,
  keyId: Uint8Array,
  { keys, decryption, discipline }: ArithmeticEnvironment,
  context: CallContext,
): Promise<CryptoServiceProviderRole> {
  const owner = keys.find(keyId);
  const role = { key: owner.key, decryption };
  return discipline.answer(method, 'distance', owner, context, () => Promise.resolve(role));
}

async function decodeValues(
  values: readonly EncodedCiphertext[],
  field: string,
  { bcp }: ArithmeticEnvironment,
): Promise<MaskedOpening[]> {
  requireThat(
    values.length >= 1 && values.length <= VALUES_PER_CALL,
    field,
    `must hold from 1 to ${String(VALUES_PER_CALL)} values`,
  );
  const openings = await decodeOpenings(values, field, bcp.parameters, bcp.engine);
  metrics.openings.add(openings.length, { 'duoveil.suite': 'reference' });
  return openings;
}

async function decodePairs(
  pairs: readonly WirePair[],
  environment: ArithmeticEnvironment,
): Promise<MaskedPair[]> {
  const sides = pairs.flatMap(({ left, right }) => {
    if (left === undefined || right === undefined) {
      throw messageInvalid('pairs', 'must each have left and right');
    }
    return [left, right];
  });
  const openings = await decodeValues(sides, 'pairs', environment);
  return inPairs(openings).map(([left, right]) => ({ left, right }));
}

function encode(
  results: readonly Ciphertext[],
  { bcp }: ArithmeticEnvironment,
): { a: Buffer; b: Buffer }[] {
  return results.map((result) => encodeCiphertext(result, bcp.parameters));
}

function requireThat(condition: boolean, field: string, requirement: string): void {
  if (!condition) throw messageInvalid(field, requirement);
}

function messageInvalid(field: string, requirement: string): Error {
  return duoveilError('MESSAGE_INVALID', `${field} ${requirement}`, { field });
}
