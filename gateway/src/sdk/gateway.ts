/** A patient's gateway as an object: enrol, send, and be told what was decided. */
import { parseParametersDigest } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import type { EngineChoice } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import { abortReason, createLogger, linkedAbort } from '@duoveil/common/runtime';
import type { LogLevel, PatientId, SealingSecret } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';

import { watchDecisions } from '../decisions.js';
import type { Outcome } from '../decisions.js';
import { enrol } from '../enrol.js';
import { parseMonitoringOptions } from '../monitoring-options.js';
import type { MonitoringValues } from '../monitoring-options.js';
import { openParty, requirePatient } from '../party.js';
import type { Party } from '../party.js';
import { sealingSecret } from '../sealing-secret.js';
import { openSpool } from '../spool-key.js';
import { readSecretKey, requireNotMoved, requireState } from '../state.js';
import type { GatewayState } from '../state.js';
import { fetchStatistics } from '../statistics.js';
import type { BaselineStatistics } from '../statistics.js';
import { Outbox } from './outbox.js';
import type { VitalSigns } from './outbox.js';

/** Whose gateway it is, where its things are, and whom it talks to. */
export interface ConnectOptions {
  /** Where the service provider listens, `host:port`. Its certificate must name this host. */
  readonly sp: string;
  /** Directory with `ca.crt`, `tls.crt` and `tls.key`. The certificate names the patient. */
  readonly tls: string;
  /** This patient's own directory: enrolment, sealed keys, samples on their way. Made by `enrol`. */
  readonly state: string;
  /** Seals the patient's keys: a file with 32 bytes, or 64 hexadecimal digits. This or a passphrase. */
  readonly keyFile?: string | undefined;
  /** Seals the patient's keys. Stretched, which takes 128 MB for a moment. This or a key file. */
  readonly passphrase?: string | undefined;
  /** The most samples on disk, 1 or more; by default 86,400. Where so many wait, `send` waits too. */
  readonly spoolMaxSamples?: number | undefined;
  /** The most bytes that they may take there, 1 MiB or more; by default 256 MiB. */
  readonly spoolMaxBytes?: number | undefined;
  /**
   * The most of them that are safe at the service provider, 0 or more; by default 86,400. They are kept
   * for a service provider that is restored from a backup, and make room for others.
   */
  readonly spoolKeepSamples?: number | undefined;
  /** Arithmetic; by default native where it is built, else portable. */
  readonly engine?: EngineChoice | undefined;
  /** What is logged to standard error, as JSON lines; by default `warn`. Never a reading or a key. */
  readonly logLevel?: LogLevel | undefined;
}

/** How a patient is to be enrolled: what the command's options say, under the same names. */
export interface EnrolmentOptions extends MonitoringValues {
  /** Digest of the only parameters to accept, in hexadecimal, as the CSP's operator published it. */
  readonly parametersDigest: string;
  /** Accept a modulus of fewer than 2,048 bits, for a test: it protects nothing. */
  readonly insecureKeyBits?: boolean | undefined;
}

/** What was decided about a sample. */
export type Decision = {
  /** The sample's place in the patient's series, from 1, as `send` returned it. */
  readonly sequence: number;
} & Outcome;

/** From where on to be told. */
export interface DecisionsOptions {
  /** The first sequence number; by default 1: all decisions, also those of earlier runs. */
  readonly from?: number | undefined;
  /** Ends the telling, without an error, once it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens a patient's gateway. The connection is made when it is needed, and kept up from then on.
 * @throws CONFIG_INVALID where a file or directory is missing or wrong; OPTION_INVALID where there is
 * not one secret
 */
export async function connect(options: ConnectOptions): Promise<Gateway> {
  const { keyFile, engine = 'auto', logLevel = 'warn' } = options;
  const passphrase = options.passphrase === undefined ? undefined : new Secret(options.passphrase);
  const secret = await sealingSecret({ keyFile, passphrase });
  const logger = createLogger({ service: 'gateway', level: logLevel });
  const party = await openParty({ sp: options.sp, tls: options.tls, engine, logger });
  return new Gateway(options, party, secret);
}

/** A patient's gateway. Made by {@link connect}; close it in the end, or declare it with `await using`. */
export class Gateway implements AsyncDisposable {
  readonly #options: ConnectOptions;
  readonly #party: Party;
  readonly #secret: SealingSecret;
  readonly #life = new AbortController();
  #outbox: Promise<Outbox> | undefined;

  /** @internal */
  constructor(options: ConnectOptions, party: Party, secret: SealingSecret) {
    this.#options = options;
    this.#party = party;
    this.#secret = secret;
  }

  /** The patient, as the certificate names it. */
  get patient(): PatientId {
    return this.#party.patient;
  }

  /**
   * Makes the patient's key, seals it, and enrols the patient. Doing it again with the same options is
   * harmless; what a patient is enrolled with cannot be changed.
   * @throws PARAMETERS_MISMATCH, PARAMETERS_INVALID where the service provider offers others than those
   * that were pinned; PATIENT_CONFLICT where the patient is enrolled with something else; BOUNDS_EXCEEDED
   * where channels and window do not fit; OPTION_INVALID, SCHEMA_INVALID; PEER_UNAVAILABLE after half a minute
   */
  async enrol(options: EnrolmentOptions): Promise<void> {
    const { schema, policy } = await parseMonitoringOptions(options);
    await enrol({
      ...this.#party,
      signal: this.#life.signal,
      directory: this.#options.state,
      pinned: parseParametersDigest(options.parametersDigest, 'parametersDigest'),
      schema,
      policy,
      insecureKeyBits: options.insecureKeyBits ?? false,
      sealingSecret: () => Promise.resolve(this.#secret),
      random: systemRandom,
    });
  }

  /**
   * Encrypts a sample and puts it on disk, behind the last one. From then on it is sent, in order, as
   * soon as the service provider can be reached, also by a later process. With the first call the
   * samples that an earlier process left are sent too. Calls may overlap; they keep their order.
   * @returns the sample's sequence number, once it is on disk
   * @throws INPUT_INVALID where a channel has no value, or the time is not later than the last: it is
   * not sent, and the next one may be; CONFIG_INVALID where the patient is not enrolled;
   * UNSEALING_FAILED; SPOOL_DAMAGED; what ends a stream for good: SEQUENCE_CONFLICT, SEQUENCE_GAP,
   * UNAUTHENTICATED, PERMISSION_DENIED, ..
   */
  async send(sample: VitalSigns): Promise<number> {
    return (await this.#opened()).put(sample);
  }

  /**
   * Resolves when every sample that was sent is safe at the service provider.
   * @throws as {@link Gateway.send}
   */
  async delivered(): Promise<void> {
    await (await this.#opened()).delivered();
  }

  /**
   * The decisions on the patient's samples, in order, each once, for as long as they are asked for. It
   * ends when the gateway is closed, or the signal is aborted.
   * @throws CONFIG_INVALID where the patient is not enrolled; PEER_MISBEHAVED; UNAUTHENTICATED,
   * PERMISSION_DENIED; whatever may pass is tried again without end
   */
  async *decisions(options: DecisionsOptions = {}): AsyncGenerator<Decision, void> {
    const { from = 1 } = options;
    const { patient, policy } = await this.#state();
    const life = linkedAbort(this.#life.signal, ...(options.signal ? [options.signal] : []));
    const { signal } = life;
    const series = { patient, output: policy.output, from, signal, random: systemRandom };
    try {
      for await (const event of watchDecisions({ ...this.#party, ...series })) {
        if (event.kind === 'decision') yield { sequence: event.sequence, ...event.outcome };
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      life.release();
    }
  }

  /**
   * Fetches the encrypted sums behind the patient's baseline and decrypts them here.
   * @throws NOT_READY before the first baseline; OUTPUT_NOT_ALLOWED with the reference suite;
   * CONFIG_INVALID where there is no secret key; UNSEALING_FAILED; DECRYPTION_FAILED
   */
  async statistics(): Promise<BaselineStatistics> {
    const state = await this.#state();
    const { state: directory } = this.#options;
    const key = await readSecretKey(directory, state.patient, state.parameters, this.#secret);
    if (key === undefined) {
      throw duoveilError('CONFIG_INVALID', `state: ${directory} holds no secret key`, {
        path: 'state',
      });
    }
    const { connection, engine } = this.#party;
    return fetchStatistics(connection, state, key, engine);
  }

  /** Stops sending and watching, and lets go of everything. What waits on disk is sent the next time. */
  async close(): Promise<void> {
    if (this.#life.signal.aborted) return;
    this.#life.abort(duoveilError('NOT_READY', 'the gateway was closed'));
    const outbox = await this.#outbox?.catch(() => undefined);
    await outbox?.close();
    await this.#party.close();
  }

  /** As {@link Gateway.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #state(): Promise<GatewayState> {
    if (this.#life.signal.aborted) throw abortReason(this.#life.signal);
    const { state: directory } = this.#options;
    const state = await requireState(directory);
    requirePatient(state.patient, this.patient, directory);
    return state;
  }

  /** The outbox; opened with the first sample, or again after that had failed. */
  #opened(): Promise<Outbox> {
    const opening = (this.#outbox ??= this.#open());
    opening.catch(() => {
      this.#outbox = undefined;
    });
    return opening;
  }

  async #open(): Promise<Outbox> {
    const state = await this.#state();
    requireNotMoved(state);
    const spool = await openSpool({
      directory: this.#options.state,
      patient: state.patient,
      secret: this.#secret,
      maxSamples: this.#options.spoolMaxSamples,
      maxBytes: this.#options.spoolMaxBytes,
      keepSamples: this.#options.spoolKeepSamples,
      random: systemRandom,
      logger: this.#party.logger,
    });
    try {
      return new Outbox(this.#party, state, spool);
    } catch (error) {
      spool.close();
      throw error;
    }
  }
}
