/** A gateway's messages made by hand: also those that a good gateway never sends. */
import {
  encodeCiphertext,
  encodeKey,
  generateKeyPair,
  KeyedBcp,
  provePossession,
} from '@duoveil/common/bcp';
import type { Bcp, EncodedKey, KeyPair } from '@duoveil/common/bcp';
import {
  DEFAULT_QUANTILE,
  parsePolicy,
  scaledThreshold,
  selectChannels,
} from '@duoveil/common/encoding';
import type { MonitoringPolicy, Schema } from '@duoveil/common/encoding';
import { systemRandom } from '@duoveil/common/random';
import { callBidi, callServerStream, callUnary } from '@duoveil/common/runtime';
import type { BidiCall, ClientMethod, Connection, PatientId } from '@duoveil/common/runtime';
import {
  EnrolmentServiceService,
  IngestRequest,
  IngestServiceService,
  MonitoringServiceService,
} from '@duoveil/proto';
import type { EnrolRequest, IngestResponse, Sample, WatchResponse } from '@duoveil/proto';

import { encodeEnrolment } from '../../../gateway/src/wire.js';

/** Two channels. */
export const SCHEMA: Schema = selectChannels(['HR', 'SpO2']);

/** A small window, learnt again often. */
export const POLICY: MonitoringPolicy = policyOf(SCHEMA, { window: 5 });

/** The reference suite with distance output, a fixed baseline and the usual threshold. */
export function policyOf(
  schema: Schema,
  fields: Partial<Pick<MonitoringPolicy, 'window' | 'baseline' | 'retrainEvery'>>,
): MonitoringPolicy {
  const policy = {
    window: schema.channels.length + 2,
    baseline: 'fixed',
    retrainEvery: 0,
    thresholdScaled: scaledThreshold(DEFAULT_QUANTILE, schema.channels.length),
    suite: 'reference',
    output: 'distance',
    ...fields,
  };
  return parsePolicy(policy, schema, 'the test');
}

/** What is told to those who watch. */
export type WatchEvent = NonNullable<WatchResponse['event']>;

/** Takes bytes as they are. */
const rawIngest: ClientMethod<Uint8Array, IngestResponse, true, true> = {
  ...IngestServiceService.ingest,
  requestSerialize: (bytes) => Buffer.from(bytes),
};

/** See the file's comment. */
export class HandMadeGateway {
  readonly connection: Connection;
  readonly bcp: Bcp;
  readonly patient: PatientId;
  readonly keys: KeyPair;
  readonly encodedKey: EncodedKey;
  readonly #key: KeyedBcp;

  private constructor(
    connection: Connection,
    bcp: Bcp,
    patient: PatientId,
    keys: KeyPair,
    encodedKey: EncodedKey,
  ) {
    this.connection = connection;
    this.bcp = bcp;
    this.patient = patient;
    this.keys = keys;
    this.encodedKey = encodedKey;
    this.#key = new KeyedBcp(bcp, keys.publicKey);
  }

  /** With a key of its own. */
  static async create(
    connection: Connection,
    bcp: Bcp,
    patient: PatientId,
  ): Promise<HandMadeGateway> {
    const keys = await generateKeyPair(bcp, systemRandom);
    const proof = await provePossession(bcp, keys, patient, systemRandom);
    const encoded = encodeKey(keys.publicKey, proof, bcp.parameters);
    return new HandMadeGateway(connection, bcp, patient, keys, encoded);
  }

  /** The same gateway, talking to another service provider. */
  via(connection: Connection): HandMadeGateway {
    return new HandMadeGateway(connection, this.bcp, this.patient, this.keys, this.encodedKey);
  }

  /** A good enrolment, to be sent or to be altered. */
  enrolment(schema: Schema = SCHEMA, policy: MonitoringPolicy = POLICY): EnrolRequest {
    const { patient, bcp, encodedKey: key } = this;
    return encodeEnrolment({ patient, parameters: bcp.parameters, key, schema, policy });
  }

  async enrol(request: EnrolRequest = this.enrolment()): Promise<void> {
    await callUnary(this.connection, EnrolmentServiceService.enrol, request, {
      deadlineMs: 30_000,
    });
  }

  /** A good sample, to be sent or to be altered. */
  async sample(sequence: bigint | number, values: readonly bigint[]): Promise<Sample> {
    const ciphertexts = await this.#key.encrypt(values, systemRandom);
    return {
      sequence: BigInt(sequence),
      ciphertexts: ciphertexts.map((one) => encodeCiphertext(one, this.bcp.parameters)),
    };
  }

  /** A good `open`, or one for another patient or other parameters. */
  opening(patientId: string = this.patient, digest = this.bcp.parameters.digest as string) {
    const value = { patientId, parametersDigest: Buffer.from(digest, 'hex') };
    return { message: { $case: 'open', value } } as const;
  }

  /** A stream on which nothing was sent yet. */
  ingest(): IngestStream {
    return new IngestStream(callBidi(this.connection, rawIngest));
  }

  /** An open stream, and the sequence number that is expected. */
  async open(): Promise<{ stream: IngestStream; next: bigint }> {
    const stream = this.ingest();
    await stream.send(this.opening());
    const answer = await stream.next();
    if (answer?.$case !== 'opened') throw new Error('the stream was not opened');
    return { stream, next: answer.value.nextSequence };
  }

  /** Streams good samples until they are acknowledged. */
  async deliver(samples: readonly (readonly bigint[])[]): Promise<void> {
    const { stream, next } = await this.open();
    for (const [i, values] of samples.entries()) {
      await stream.sendSample(await this.sample(next + BigInt(i), values));
      await stream.next();
    }
    stream.cancel();
  }

  /** The events of the patient's series, as they come. */
  async *events(from = 1): AsyncGenerator<WatchEvent, void> {
    const request = { patientId: this.patient, fromSequence: BigInt(from) };
    const method = MonitoringServiceService.watch;
    for await (const { event } of callServerStream(this.connection, method, request)) {
      if (event === undefined) throw new Error('an event that is none');
      yield event;
    }
  }

  /** The same, up to the decision on a sample. */
  async watch(through: number, from = 1): Promise<WatchEvent[]> {
    const events: WatchEvent[] = [];
    for await (const event of this.events(from)) {
      events.push(event);
      if (event.$case === 'decision' && event.value.sequence === BigInt(through)) break;
    }
    return events;
  }
}

/** One stream of samples. */
export class IngestStream {
  readonly #call: BidiCall<Uint8Array, IngestResponse>;

  constructor(call: BidiCall<Uint8Array, IngestResponse>) {
    this.#call = call;
  }

  /** Sends a message. That the stream has failed shows in {@link next}. */
  async send(message: IngestRequest | Uint8Array): Promise<void> {
    const bytes = message instanceof Uint8Array ? message : IngestRequest.encode(message).finish();
    await this.#call.send(bytes).catch(() => undefined);
  }

  async sendSample(value: Sample): Promise<void> {
    await this.send({ message: { $case: 'sample', value } });
  }

  /**
   * The next response; undefined where the stream has ended without an error.
   * @throws the error that it ended with
   */
  async next(): Promise<IngestResponse['message']> {
    const { value } = await this.#call.responses.next();
    return value?.message;
  }

  /** Says that nothing follows. */
  end(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }
}
