/**
 * From quantised rows to the messages that go on the wire: what each suite prescribes for a sample
 * stands here and nowhere else in the gateway.
 */
import { Bcp, encodeCiphertext, KeyedBcp } from '@duoveil/common/bcp';
import type { Ciphertext, EncodedKey, PublicParameters } from '@duoveil/common/bcp';
import { packingPlanOf, quantiseRow } from '@duoveil/common/encoding';
import type { MonitoringPolicy, QuantisedRow, Schema } from '@duoveil/common/encoding';
import type { ModularEngine } from '@duoveil/common/modular';
import { encryptSamples as encryptPacked } from '@duoveil/common/protocols/packed';
import { encryptSamples as encryptReference } from '@duoveil/common/protocols/reference';
import { integerFromBytes } from '@duoveil/common/random';
import type { RandomSource } from '@duoveil/common/random';
import { beginTrace } from '@duoveil/common/runtime';
import { IngestRequest } from '@duoveil/proto';

import type { SourceRow } from './sources/index.js';
import type { SpooledSample } from './spool.js';

/** A complete row: one quantised value a channel, in the schema's order. */
export interface PlainSample {
  /** Its place in the patient's series, from 1. */
  readonly sequence: number;
  readonly values: readonly bigint[];
  /** When it was measured, in milliseconds since 1970 UTC; undefined where that is not to be told. */
  readonly measuredAt?: number | undefined;
}

/** A source's row, quantised; or why it is skipped. */
export function quantiseSourceRow(
  schema: Schema,
  { cells, problem }: Pick<SourceRow, 'cells' | 'problem'>,
): QuantisedRow {
  return problem === undefined ? quantiseRow(schema, cells) : { skipped: problem };
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

  /** For an enrolled patient, under the patient's own key. */
  static of(
    form: SampleForm & { readonly key: Pick<EncodedKey, 'publicKey'> },
    engine: ModularEngine,
    random: RandomSource,
  ): SampleEncoder {
    const bcp = new Bcp(form.parameters, engine);
    return new SampleEncoder(form, new KeyedBcp(bcp, integerFromBytes(form.key.publicKey)), random);
  }

  /** A batch keeps all cores busy. */
  async encode(samples: readonly PlainSample[]): Promise<SpooledSample[]> {
    const traces = samples.map(() => beginTrace('sample'));
    const encrypted = await this.#encrypt(samples.map(({ values }) => values));
    return samples.map(({ sequence, measuredAt }, i) => {
      const ciphertexts = (encrypted[i] ?? []).map((ciphertext) =>
        encodeCiphertext(ciphertext, this.#parameters),
      );
      const trace = traces[i];
      trace?.end();
      const about = { traceparent: trace?.traceparent, measuredAt };
      return { sequence, bytes: encodeMessage(sequence, ciphertexts, about), measuredAt };
    });
  }
}

/** How many bytes the message of a sample has, with the time of its measurement or without. */
export function sampleBytes(
  { schema, policy, parameters }: SampleForm,
  sequence: number,
  measuredAt?: number,
): number {
  const count =
    policy.suite === 'packed'
      ? packingPlanOf(schema, policy, parameters.bits).plaintexts
      : schema.channels.length;
  const blank = Buffer.alloc(parameters.elementBytes);
  const ciphertexts = Array.from({ length: count }, () => ({ a: blank, b: blank }));
  return encodeMessage(sequence, ciphertexts, { measuredAt }).length;
}

/** What goes along with a sample's ciphertexts. */
interface About {
  readonly traceparent?: string | undefined;
  readonly measuredAt?: number | undefined;
}

function encodeMessage(
  sequence: number,
  ciphertexts: { a: Buffer; b: Buffer }[],
  { traceparent, measuredAt }: About,
): Uint8Array {
  const measuredAtMs = measuredAt === undefined ? undefined : BigInt(measuredAt);
  const value = { sequence: BigInt(sequence), ciphertexts, traceparent, measuredAtMs };
  return IngestRequest.encode({ message: { $case: 'sample', value } }).finish();
}
