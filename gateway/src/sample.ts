/**
 * From quantised rows to the messages that go on the wire: what each suite prescribes for a sample
 * stands here and nowhere else in the gateway.
 */
import { encodeCiphertext } from '@duoveil/common/bcp';
import type { KeyedBcp, PublicParameters } from '@duoveil/common/bcp';
import type { Schema, Suite } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import type { RandomSource } from '@duoveil/common/random';
import { IngestRequest } from '@duoveil/proto';
import type { Ciphertext } from '@duoveil/proto';

import type { SpooledSample } from './spool.js';

/** The suites whose samples can be made here. */
export const AVAILABLE_SUITES: readonly Suite[] = ['reference'];

/** A complete row: one quantised value a channel, in the schema's order. */
export interface PlainSample {
  /** Its place in the patient's series, from 1. */
  readonly sequence: number;
  readonly values: readonly bigint[];
}

/**
 * Encrypts samples, each into the message that carries it. A batch keeps all cores busy.
 * @throws OPTION_INVALID for a suite that is not available
 */
export async function encodeSamples(
  suite: Suite,
  samples: readonly PlainSample[],
  key: KeyedBcp,
  random: RandomSource,
): Promise<SpooledSample[]> {
  switch (suite) {
    case 'reference':
      return encodeReference(samples, key, random);
    case 'packed':
      throw suiteUnavailable(suite);
  }
}

/** How many bytes the message of a sample has. */
export function sampleBytes(
  suite: Suite,
  schema: Schema,
  parameters: PublicParameters,
  sequence: number,
): number {
  switch (suite) {
    case 'reference': {
      const blank = Buffer.alloc(parameters.elementBytes);
      const ciphertexts = schema.channels.map(() => ({ a: blank, b: blank }));
      return encodeMessage(sequence, ciphertexts).length;
    }
    case 'packed':
      throw suiteUnavailable(suite);
  }
}

/** The error for a suite that is not available. */
export function suiteUnavailable(suite: Suite): Error {
  return duoveilError(
    'OPTION_INVALID',
    `--suite: ${suite} is not available in this version; there is ${AVAILABLE_SUITES.join(', ')}`,
    { option: '--suite' },
  );
}

/** One ciphertext a channel. */
async function encodeReference(
  samples: readonly PlainSample[],
  key: KeyedBcp,
  random: RandomSource,
): Promise<SpooledSample[]> {
  const { parameters } = key.bcp;
  const ciphertexts = await key.encrypt(
    samples.flatMap(({ values }) => values),
    random,
  );
  let start = 0;
  return samples.map(({ sequence, values }) => {
    const own = ciphertexts.slice(start, (start += values.length));
    const encoded = own.map((ciphertext) => encodeCiphertext(ciphertext, parameters));
    return { sequence, bytes: encodeMessage(sequence, encoded) };
  });
}

function encodeMessage(sequence: number, ciphertexts: Ciphertext[]): Uint8Array {
  return IngestRequest.encode({
    message: { $case: 'sample', value: { sequence: BigInt(sequence), ciphertexts } },
  }).finish();
}
