/**
 * From quantised rows to the messages that go on the wire: what each suite prescribes for a sample
 * stands here and nowhere else in the gateway.
 */
import { encodeCiphertext } from '@duoveil/common/bcp';
import type { Ciphertext, KeyedBcp, PublicParameters } from '@duoveil/common/bcp';
import { packingPlanOf } from '@duoveil/common/encoding';
import type { MonitoringPolicy, Schema } from '@duoveil/common/encoding';
import { encryptSamples as encryptPacked } from '@duoveil/common/protocols/packed';
import { encryptSamples as encryptReference } from '@duoveil/common/protocols/reference';
import type { RandomSource } from '@duoveil/common/random';
import { beginTrace } from '@duoveil/common/runtime';
import { IngestRequest } from '@duoveil/proto';

import type { SpooledSample } from './spool.js';

/** A complete row: one quantised value a channel, in the schema's order. */
export interface PlainSample {
  /** Its place in the patient's series, from 1. */
  readonly sequence: number;
  readonly values: readonly bigint[];
}

/** What an enrolment says of the form of its samples. */
export interface SampleForm {
  readonly schema: Schema;
  readonly policy: MonitoringPolicy;
  readonly parameters: PublicParameters;
}

/** Encrypts samples, each into the message that carries it. */
export class SampleEncoder {
  readonly #parameters: PublicParameters;
  readonly #encrypt: (samples: readonly (readonly bigint[])[]) => Promise<Ciphertext[][]>;

  /** @throws BOUNDS_EXCEEDED where schema and window do not fit the parameters */
  constructor({ schema, policy, parameters }: SampleForm, key: KeyedBcp, random: RandomSource) {
    this.#parameters = parameters;
    if (policy.suite === 'packed') {
      const plan = packingPlanOf(schema, policy, parameters.bits);
      this.#encrypt = (samples) => encryptPacked(plan, key, samples, random);
    } else {
      this.#encrypt = (samples) => encryptReference(key, samples, random);
    }
  }

  /** A batch keeps all cores busy. */
  async encode(samples: readonly PlainSample[]): Promise<SpooledSample[]> {
    const traces = samples.map(() => beginTrace('sample'));
    const encrypted = await this.#encrypt(samples.map(({ values }) => values));
    return samples.map(({ sequence }, i) => {
      const ciphertexts = (encrypted[i] ?? []).map((ciphertext) =>
        encodeCiphertext(ciphertext, this.#parameters),
      );
      const trace = traces[i];
      trace?.end();
      return { sequence, bytes: encodeMessage(sequence, ciphertexts, trace?.traceparent) };
    });
  }
}

/** How many bytes the message of a sample has. */
export function sampleBytes({ schema, policy, parameters }: SampleForm, sequence: number): number {
  const count =
    policy.suite === 'packed'
      ? packingPlanOf(schema, policy, parameters.bits).plaintexts
      : schema.channels.length;
  const blank = Buffer.alloc(parameters.elementBytes);
  const ciphertexts = Array.from({ length: count }, () => ({ a: blank, b: blank }));
  return encodeMessage(sequence, ciphertexts).length;
}

function encodeMessage(
  sequence: number,
  ciphertexts: { a: Buffer; b: Buffer }[],
  traceparent?: string,
): Uint8Array {
  const value = { sequence: BigInt(sequence), ciphertexts, traceparent };
  return IngestRequest.encode({ message: { $case: 'sample', value } }).finish();
}
