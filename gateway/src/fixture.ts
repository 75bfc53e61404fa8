/** For this package's own tests: a service provider that decides by a function. Not exported. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { encodeParameters, publicParameters } from '@duoveil/common/bcp';
import type { PublicParameters } from '@duoveil/common/bcp';
import { parsePolicy, selectChannels } from '@duoveil/common/encoding';
import type { MonitoringPolicy, Schema } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { systemRandom } from '@duoveil/common/random';
import {
  bidi,
  connect,
  createAuthority,
  implement,
  issueCertificate,
  parsePatientId,
  requireOwnPatient,
  serverStream,
  silentLogger,
  startServer,
  tlsFromCredentials,
  unary,
} from '@duoveil/common/runtime';
import type {
  Authority,
  CallContext,
  Connection,
  Credentials,
  Identity,
  RunningServer,
  Tls,
} from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import {
  EnrolmentServiceService,
  IngestServiceService,
  MonitoringServiceService,
  ParametersServiceService,
  Sample,
} from '@duoveil/proto';
import type {
  Decision,
  EnrolRequest,
  IngestRequest,
  IngestResponse,
  WatchResponse,
} from '@duoveil/proto';

import type { RunEvent } from './run-events.js';
import { Spool } from './spool.js';
import type { SpoolOptions } from './spool.js';
import type { GatewayState } from './state.js';

/** The patient of the tests. */
export const PATIENT = parsePatientId('patient-1', 'patient');

const TRUST_DOMAIN = 'test.internal';

// Safe primes of 256 bits, for all to see: they protect nothing.
const P = 0xfa386c5f4ddaac00d33be1c99622168910bf5eb8ae6e029ed5aa36d0191f5237n;
const Q = 0xd0984b361d56c7f8bbb660db4cc552d7d739c3717e47c898c54e36168eb3dd1fn;

/** Parameters of 512 bits over public primes. */
export const PARAMETERS: PublicParameters = testParameters();

function testParameters(): PublicParameters {
  const modulus = P * Q;
  return publicParameters('residue', modulus, power(3n, 2n * modulus, modulus * modulus));
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let square = base, left = exponent; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

/** Two channels, a window of 4. */
export const SCHEMA: Schema = selectChannels(['HR', 'SpO2']);

/** See {@link SCHEMA}. */
export const POLICY: MonitoringPolicy = parsePolicy(
  {
    window: 4,
    baseline: 'fixed',
    thresholdScaled: 483_502,
    suite: 'reference',
    output: 'distance',
  },
  SCHEMA,
  'the policy',
);

/** A state whose key is nobody's: for tests that only send. */
export const STATE: GatewayState = {
  patient: PATIENT,
  trustDomain: TRUST_DOMAIN,
  parameters: PARAMETERS,
  key: {
    publicKey: encodeParameters(PARAMETERS).generator,
    commitment: Buffer.alloc(1),
    response: Buffer.alloc(1),
  },
  schema: SCHEMA,
  policy: POLICY,
};

/** Everything the tests' loops wait with. */
export const FAST = {
  random: systemRandom,
  logger: silentLogger(),
  backoff: { firstMs: 5, longestMs: 50 },
} as const;

/** A spool of the tests' patient, in the file of a directory. */
export function openTestSpool(directory: string, options: Partial<SpoolOptions> = {}): Spool {
  const key = new Secret<Uint8Array>(Buffer.alloc(32, 7));
  return Spool.open(join(directory, 'spool.db'), { patient: PATIENT, key, ...options });
}

/** The rest of a decision: what became of the sample. */
export type StubOutcome = NonNullable<Decision['outcome']>;

/** The first 4 samples are learnt from; then every tenth is an outlier. */
export function decideByNumber(sequence: number): StubOutcome {
  if (sequence <= 4) return { $case: 'learning', value: {} };
  return {
    $case: 'scored',
    value: {
      outlier: sequence % 10 === 0,
      statistic: { $case: 'squaredDistance', value: sequence / 8 },
      model: 1,
      latencyMs: 1.5,
    },
  };
}

/** A deployment with an authority, one directory and any number of starts of one fake service provider. */
export class TestBed {
  readonly directory: string;
  readonly sp: FakeServiceProvider;
  readonly #authority: Authority;
  readonly #connections: Connection[] = [];

  private constructor(directory: string, authority: Authority, sp: FakeServiceProvider) {
    this.directory = directory;
    this.#authority = authority;
    this.sp = sp;
  }

  static async create(): Promise<TestBed> {
    const now = new Date();
    const authority = await createAuthority({ commonName: 'test authority', days: 30, now });
    const identity: Identity = { trustDomain: TRUST_DOMAIN, role: 'sp' };
    const tls = tlsFromCredentials(await credentialsOf(authority, identity));
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-gateway-'));
    return new TestBed(directory, authority, new FakeServiceProvider(tls));
  }

  /** A gateway's certificate, of the tests' patient unless told otherwise. */
  credentials(patient = PATIENT): Promise<Credentials> {
    return credentialsOf(this.#authority, { trustDomain: TRUST_DOMAIN, role: 'gateway', patient });
  }

  /** A gateway's connection to the fake service provider, which has been started before. */
  async connect(patient = PATIENT): Promise<Connection> {
    const tls = tlsFromCredentials(await this.credentials(patient));
    const connection = connect({ address: this.sp.address, tls, expectRole: 'sp' });
    this.#connections.push(connection);
    return connection;
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.close();
    await this.sp.stop();
    await rm(this.directory, { recursive: true });
  }
}

function credentialsOf(authority: Authority, identity: Identity): Promise<Credentials> {
  return issueCertificate(authority, { identity, hosts: ['127.0.0.1'], days: 30, now: new Date() });
}

/** Keeps samples in memory and decides by a function; misbehaves as it is told. */
export class FakeServiceProvider {
  /** Every sample that arrived, also again, as `[sequence, bytes]`. */
  readonly received: (readonly [sequence: number, bytes: Buffer])[] = [];
  /** What is "on disk": bytes by sequence number. */
  readonly stored = new Map<number, Buffer>();
  readonly enrolments: EnrolRequest[] = [];
  /** How often a stream was opened. */
  opens = 0;
  parameters: PublicParameters = PARAMETERS;
  decide: (sequence: number) => StubOutcome = decideByNumber;
  /** Instead of taking a sample or an `open`; to be replaced by tests. */
  onSample: (sequence: number) => Promise<void> | void = () => undefined;
  onOpen: () => Promise<void> | void = () => undefined;
  onEnrol: () => Promise<void> | void = () => undefined;
  /** How often each sample is acknowledged. */
  acknowledgements = 1;
  /** The number that `opened` states, if not the right one. */
  statedNext: number | undefined;
  /** How far its clock is ahead, in milliseconds. */
  aheadMs = 0;
  readonly #tls: Tls;
  #server: RunningServer | undefined;
  #port = 0;

  constructor(tls: Tls) {
    this.#tls = tls;
  }

  get address(): string {
    return `127.0.0.1:${String(this.#port)}`;
  }

  /** Starts, on the same port as the last time. */
  async start(): Promise<void> {
    const gateways = { roles: ['gateway'] } as const;
    this.#server = await startServer({
      listen: `127.0.0.1:${String(this.#port)}`,
      tls: this.#tls,
      logger: silentLogger(),
      services: [
        implement(ParametersServiceService, {
          getParameters: unary(gateways, () =>
            Promise.resolve({ parameters: encodeParameters(this.parameters) }),
          ),
        }),
        implement(EnrolmentServiceService, {
          enrol: unary(gateways, async (request) => {
            await this.onEnrol();
            this.enrolments.push(request);
            return {};
          }),
        }),
        implement(IngestServiceService, {
          ingest: bidi(gateways, (requests, send, context) =>
            this.#ingest(requests, send, context),
          ),
        }),
        implement(MonitoringServiceService, {
          watch: serverStream(gateways, (request, context) =>
            this.#watch(Number(request.fromSequence), context.signal),
          ),
        }),
      ],
    });
    this.#port = this.#server.port;
  }

  /** Vanishes; what is stored stays. */
  async stop(): Promise<void> {
    await this.#server?.drain(0);
    this.#server = undefined;
  }

  async #ingest(
    requests: AsyncIterable<IngestRequest>,
    send: (response: IngestResponse) => Promise<void>,
    context: CallContext,
  ): Promise<void> {
    for await (const { message } of requests) {
      if (message?.$case === 'open') {
        requireOwnPatient(context.identity, parsePatientId(message.value.patientId, 'patient'));
        this.opens += 1;
        await this.onOpen();
        const nextSequence = BigInt(this.statedNext ?? this.stored.size + 1);
        const serverTimeMs = BigInt(Date.now() + this.aheadMs);
        await send({ message: { $case: 'opened', value: { nextSequence, serverTimeMs } } });
      } else if (message?.$case === 'sample') await this.#take(message.value, send);
    }
  }

  async #take(sample: Sample, send: (response: IngestResponse) => Promise<void>): Promise<void> {
    const sequence = Number(sample.sequence);
    const bytes = Buffer.from(Sample.encode(sample).finish());
    this.received.push([sequence, bytes]);
    await this.onSample(sequence);
    const stored = this.stored.get(sequence);
    if (stored === undefined) this.stored.set(sequence, bytes);
    else if (!stored.equals(bytes)) {
      throw duoveilError('SEQUENCE_CONFLICT', 'used before', { sequence: sample.sequence });
    }
    for (let i = 0; i < this.acknowledgements; i += 1) {
      const value = { sequence: sample.sequence };
      await send({ message: { $case: 'acknowledged', value } });
    }
  }

  async *#watch(from: number, signal: AbortSignal): AsyncGenerator<WatchResponse, void> {
    for (let sequence = from; !signal.aborted;) {
      if (!this.stored.has(sequence)) {
        await delay(5);
        continue;
      }
      const outcome = this.decide(sequence);
      if (sequence === 5) {
        const value = { model: 1, throughSequence: 4n, trainMs: 20 };
        yield { event: { $case: 'trained', value } };
      }
      const value = { sequence: BigInt(sequence), outcome };
      yield { event: { $case: 'decision', value } };
      sequence += 1;
    }
  }
}

/** The events that {@link decideByNumber} leads to, for rows that are all complete. */
export function eventsOf(rows: number): RunEvent[] {
  return Array.from({ length: rows }, (_, index) => index).flatMap((index): RunEvent[] => {
    const sequence = index + 1;
    if (sequence <= 4) return [{ kind: 'learning', index }];
    const scored: RunEvent = {
      kind: 'scored',
      index,
      outlier: sequence % 10 === 0,
      statistic: { kind: 'distance', squaredDistance: sequence / 8 },
      model: 1,
      latencyMs: 1.5,
    };
    return sequence === 5 ? [{ kind: 'trained', model: 1, trainMs: 20 }, scored] : [scored];
  });
}
