/** A patient's gateway, for benchmarks: samples are encrypted beforehand and sent from memory. */
import { Bcp, KeyedBcp } from '@duoveil/common/bcp';
import { quantiseRow } from '@duoveil/common/encoding';
import type { MonitoringPolicy, Schema } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import type { ModularEngine } from '@duoveil/common/modular';
import { integerFromBytes, systemRandom } from '@duoveil/common/random';
import {
  callBidi,
  connect,
  credentialFiles,
  defaultTrustDomain,
  loadTls,
  parsePatientId,
  silentLogger,
} from '@duoveil/common/runtime';
import type { BidiCall, Connection } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { enrol, SampleEncoder, watchDecisions } from '@duoveil/gateway/parts';
import type { DecisionEvent, GatewayState } from '@duoveil/gateway/parts';
import type { Servers } from '@duoveil/harness/parties';
import { simulate } from '@duoveil/harness/simulation';
import { IngestRequest, IngestServiceService } from '@duoveil/proto';
import type { IngestResponse, Sample } from '@duoveil/proto';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';

/** What a patient is enrolled with. */
export interface PatientOptions {
  readonly servers: Servers;
  /** An existing directory. */
  readonly directory: string;
  readonly name: string;
  readonly schema: Schema;
  readonly policy: MonitoringPolicy;
  /** Encrypts. */
  readonly engine: ModularEngine;
}

type Ciphertexts = Sample['ciphertexts'];

/** One patient: enrolled, its stream open, its decisions watched. */
export class Patient {
  readonly #connection: Connection;
  readonly #stop = new AbortController();
  readonly #call: BidiCall<IngestRequest, IngestResponse>;
  readonly #events: AsyncGenerator<DecisionEvent, never>;
  readonly #encrypt: (first: number, count: number) => Promise<Ciphertexts[]>;
  readonly #acknowledgements: Promise<void>;
  #stock: readonly Ciphertexts[] = [];
  #sent = 0;

  private constructor(
    connection: Connection,
    state: GatewayState,
    encrypt: (first: number, count: number) => Promise<Ciphertexts[]>,
  ) {
    const { patient, parameters, policy } = state;
    const { signal } = this.#stop;
    this.#connection = connection;
    this.#encrypt = encrypt;
    this.#call = callBidi(connection, IngestServiceService.ingest, { signal });
    this.#events = watchDecisions({
      connection,
      patient,
      output: policy.output,
      from: 1,
      random: systemRandom,
      logger: silentLogger(),
      signal,
    });
    const parametersDigest = Buffer.from(parameters.digest, 'hex');
    const message = { $case: 'open', value: { patientId: patient, parametersDigest } } as const;
    this.#acknowledgements = this.#call.send({ message }).then(async () => {
      // Read, so that they do not pile up; decisions say more.
      for (;;) if ((await this.#call.responses.next()).done === true) return;
    });
    this.#acknowledgements.catch(() => undefined);
  }

  /** Enrol a patient and open its stream. */
  static async enrol(options: PatientOptions): Promise<Patient> {
    const { servers, directory, name, schema, policy, engine } = options;
    const id = parsePatientId(name, 'patient');
    const tls = await loadTls(credentialFiles(await servers.issueGateway(id)));
    const connection = connect({ address: servers.address, tls, expectRole: 'sp' });
    const { state } = await enrol({
      connection,
      patient: id,
      trustDomain: defaultTrustDomain,
      directory: join(directory, name),
      pinned: servers.digest,
      schema,
      policy,
      insecureKeyBits: true,
      sealingSecret: () => Promise.resolve({ kind: 'key', key: new Secret(randomBytes(32)) }),
      engine,
      random: systemRandom,
      logger: silentLogger(),
    });
    const bcp = new Bcp(state.parameters, engine);
    const key = new KeyedBcp(bcp, integerFromBytes(state.key.publicKey));
    const encoder = new SampleEncoder(state, key, systemRandom);
    const rows = samplesOf(schema, 512);
    return new Patient(connection, state, async (first, count) => {
      const plain = Array.from({ length: count }, (_, i) => ({
        sequence: first + i,
        values: rows[(first + i) % rows.length] ?? [],
      }));
      return (await encoder.encode(plain)).map(({ bytes }) => ciphertextsOf(bytes));
    });
  }

  /** Encrypt this many samples; they are sent in turns, each under a number of its own. */
  async prepare(count: number): Promise<void> {
    this.#stock = await this.#encrypt(this.#sent + 1, count);
  }

  /** The number of the last sample that was sent. */
  get sent(): number {
    return this.#sent;
  }

  /** Send the next sample. */
  async send(): Promise<void> {
    const ciphertexts = this.#stock[this.#sent % this.#stock.length];
    if (ciphertexts === undefined) throw new Error('no sample was prepared');
    this.#sent += 1;
    const value = { sequence: BigInt(this.#sent), ciphertexts };
    await this.#call.send({ message: { $case: 'sample', value } });
  }

  /** The next decision or training. */
  async next(): Promise<DecisionEvent> {
    return (await this.#events.next()).value;
  }

  /** Send a whole window and wait for the model; the time of its training in milliseconds. */
  async train(window: number): Promise<number> {
    await this.prepare(window);
    for (let i = 0; i < window; i++) await this.send();
    for (;;) {
      const event = await this.next();
      if (event.kind === 'trained') return event.trainMs;
    }
  }

  /** Wait for the next scored sample; its latency in milliseconds. */
  async scored(): Promise<number> {
    const event = await this.next();
    if (event.kind === 'decision' && event.outcome.kind === 'scored') {
      return event.outcome.latencyMs;
    }
    throw duoveilError('PEER_MISBEHAVED', 'the service provider did not score a sample', {
      peer: 'sp',
    });
  }

  /** Score samples one at a time, each sent after the decision on the one before. */
  async pace(count: number): Promise<number[]> {
    const latencies: number[] = [];
    for (let i = 0; i < count; i++) {
      await this.send();
      latencies.push(await this.scored());
    }
    return latencies;
  }

  /**
   * Keep a few samples under way.
   * @param goOn is asked once before each sample, until it says no
   * @returns how many were decided
   */
  async stream(underWay: number, goOn: () => boolean): Promise<number> {
    let decided = 0;
    let open = 0;
    let more = true;
    for (;;) {
      while (more && open < underWay) {
        more = goOn();
        if (!more) break;
        await this.send();
        open += 1;
      }
      if (open === 0) return decided;
      await this.scored();
      open -= 1;
      decided += 1;
    }
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('the patient leaves'));
    await Promise.allSettled([this.#acknowledgements, this.#events.return(undefined as never)]);
    this.#connection.close();
  }
}

/** Quantised rows of a simulated patient who is well. */
export function samplesOf(schema: Schema, count: number): (readonly bigint[])[] {
  const { rows } = simulate({ seed: 7, rows: 2 * count, scenario: 'calm' });
  return rows
    .flatMap(({ cells }) => {
      const quantised = quantiseRow(schema, cells);
      return 'complete' in quantised ? [quantised.complete] : [];
    })
    .slice(0, count);
}

function ciphertextsOf(bytes: Uint8Array): Ciphertexts {
  const { message } = IngestRequest.decode(bytes);
  if (message?.$case !== 'sample') throw new Error('a sample was expected');
  return message.value.ciphertexts;
}
