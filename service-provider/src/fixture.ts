/** For this package's own tests: patients, a store in memory, and what handlers need. Not exported. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import {
  encodeCiphertext,
  encodeKey,
  generateKeyPair,
  KeyedBcp,
  provePossession,
  publicParameters,
} from '@duoveil/common/bcp';
import type { Bcp, Ciphertext, KeyPair, PublicParameters } from '@duoveil/common/bcp';
import { parsePolicy, scaledThreshold, selectChannels } from '@duoveil/common/encoding';
import type { MonitoringPolicy, Schema } from '@duoveil/common/encoding';
import { createPortableEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import { parsePatientId, silentLogger } from '@duoveil/common/runtime';
import type { CallContext, Identity, PatientId } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import type { IngestRequest, Sample } from '@duoveil/proto';

import { openStore } from './store/index.js';
import type { Lease, Patient, Store } from './store/index.js';

setFlagsFromString('--expose-gc');
/** What nobody has any more goes at once. */
export const collectGarbage = runInNewContext('gc') as () => void;

/** For what is computed in tests. */
export const engine = createPortableEngine({ threads: 0 });

// Safe primes of 256 bits, for all to see: they protect nothing.
const P = 0xfa386c5f4ddaac00d33be1c99622168910bf5eb8ae6e029ed5aa36d0191f5237n;
const Q = 0xd0984b361d56c7f8bbb660db4cc552d7d739c3717e47c898c54e36168eb3dd1fn;

/** Parameters of 512 bits over public primes. */
export async function testParameters(): Promise<PublicParameters> {
  const modulus = P * Q;
  const [generator = 1n] = await engine
    .ring(modulus * modulus)
    .powers([{ base: 3n, exponent: 2n * modulus }]);
  return publicParameters('residue', modulus, generator);
}

/** The patient of the tests. */
export const PATIENT: PatientId = parsePatientId('patient-1', 'patient');

/** Two channels. */
export const SCHEMA: Schema = selectChannels(['HR', 'SpO2']);

/** A policy of the reference suite. */
export function policyOf(
  schema: Schema,
  fields: Partial<Pick<MonitoringPolicy, 'window' | 'baseline' | 'retrainEvery'>> = {},
): MonitoringPolicy {
  const policy = {
    window: schema.channels.length + 2,
    baseline: 'fixed',
    retrainEvery: 0,
    thresholdScaled: scaledThreshold(0.975, schema.channels.length),
    suite: 'reference',
    output: 'distance',
    ...fields,
  };
  return parsePolicy(policy, schema, 'the test');
}

/** A patient, with the key that only its gateway has. */
export interface TestPatient {
  readonly patient: Patient;
  readonly keys: KeyPair;
  readonly bcp: Bcp;
  /** Encrypts a sample's values. */
  readonly encrypt: (values: readonly bigint[]) => Promise<Ciphertext[]>;
  /** The same as a message. */
  readonly sample: (sequence: number, values: readonly bigint[]) => Promise<Sample>;
}

/** A patient with a new key. */
export async function testPatient(
  bcp: Bcp,
  schema: Schema = SCHEMA,
  policy: MonitoringPolicy = policyOf(schema),
  id: PatientId = PATIENT,
): Promise<TestPatient> {
  const keys = await generateKeyPair(bcp, systemRandom);
  const proof = await provePossession(bcp, keys, id, systemRandom);
  const keyed = new KeyedBcp(bcp, keys.publicKey);
  const encrypt = (values: readonly bigint[]): Promise<Ciphertext[]> =>
    keyed.encrypt(values, systemRandom);
  return {
    patient: { id, key: encodeKey(keys.publicKey, proof, bcp.parameters), schema, policy },
    keys,
    bcp,
    encrypt,
    sample: async (sequence, values) => ({
      sequence: BigInt(sequence),
      ciphertexts: (await encrypt(values)).map((one) => encodeCiphertext(one, bcp.parameters)),
    }),
  };
}

/** A key of the store, for all to see. */
export const STORE_KEY = new Secret(new Uint8Array(32).fill(7));

/** A lease that no test is to run out of. */
export const LEASE_MS = 60_000;

/** A store in memory. */
export async function memoryStore(parameters: PublicParameters): Promise<Store> {
  return openStore({
    location: { kind: 'file', file: ':memory:' },
    parameters,
    key: STORE_KEY,
    leaseMs: LEASE_MS,
  });
}

/** The right to write for the patient of the tests. */
export async function leaseOf(store: Store): Promise<Lease> {
  const lease = await store.leases.acquire(PATIENT, false);
  if (lease === undefined) throw new Error('somebody else has the patient');
  return lease;
}

/** A call from a patient's gateway. */
export function callFrom(
  patient: PatientId,
  signal: AbortSignal = new AbortController().signal,
): CallContext {
  const identity: Identity = { trustDomain: 'test.internal', role: 'gateway', patient };
  return { identity, signal, requestId: '0011223344556677', logger: silentLogger() };
}

/** Messages that are sent one by one, to a handler that reads them. */
export class Sender implements AsyncIterable<IngestRequest> {
  readonly #queue: IngestRequest[] = [];
  #wake = (): void => undefined;
  #ended = false;

  send(message: IngestRequest['message']): void {
    this.#queue.push({ message });
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<IngestRequest, void> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

/** A gate that is shut until it is opened. */
export class Gate {
  readonly passed: Promise<void>;
  #open = (): void => undefined;
  #reached = (): void => undefined;
  /** Resolves when somebody stands before it. */
  readonly reached: Promise<void>;

  constructor() {
    this.passed = new Promise((resolve) => {
      this.#open = resolve;
    });
    this.reached = new Promise((resolve) => {
      this.#reached = resolve;
    });
  }

  /** Waits before the gate. */
  async wait(): Promise<void> {
    this.#reached();
    await this.passed;
  }

  open(): void {
    this.#open();
  }
}
