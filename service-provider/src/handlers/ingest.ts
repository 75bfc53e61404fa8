import { createHash } from 'node:crypto';

import { decodeCiphertexts, type Bcp, type EncodedCiphertext } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import {
  parsePatientId,
  requireOwnPatient,
  type BidiHandler,
  type CallContext,
  type Clock,
  type PatientId,
} from '@duoveil/common/runtime';
import type { IngestRequest, IngestResponse, OpenIngest, Sample } from '@duoveil/proto';

import type { Monitors, Owned } from '../monitor/monitors.js';
import type { Store } from '../store/index.js';
import { requireParameters } from './parameters.js';

/** Undecided samples of one patient beyond which its gateway is slowed down. */
const BACKLOG = 1024;

/** What the ingest handler works with. */
export interface IngestEnvironment {
  readonly bcp: Bcp;
  readonly store: Store;
  readonly monitors: Monitors;
  readonly clock: Clock;
}

/** The stream of one gateway's samples: each is on disk before it is acknowledged. */
export function ingest(environment: IngestEnvironment): BidiHandler<IngestRequest, IngestResponse> {
  const newest = new Map<PatientId, Intake>();
  return async (requests, send, context) => {
    let intake: Intake | undefined;
    for await (const { message } of requests) {
      if (message?.$case === 'open' && intake === undefined) {
        const owned = await open(environment, message.value, context);
        intake = await Intake.begin(environment, owned, newest, context.signal);
        await send(opened(intake.next, environment.clock.now()));
      } else if (message?.$case === 'sample' && intake !== undefined) {
        await intake.accept(message.value);
        await send(acknowledged(message.value.sequence));
      } else {
        throw duoveilError(
          'MESSAGE_INVALID',
          'the first message must be "open", every later one "sample"',
          { field: 'message' },
        );
      }
    }
  };
}

/** Whoever has the patient's stream watches the patient. */
function open(
  { bcp, monitors }: IngestEnvironment,
  message: OpenIngest,
  context: CallContext,
): Promise<Owned> {
  const patient = parsePatientId(message.patientId, 'patient_id');
  requireOwnPatient(context.identity, patient);
  requireParameters(message.parametersDigest, bcp.parameters);
  return monitors.own(patient, context.signal);
}

function opened(next: number, now: Date): IngestResponse {
  const value = { nextSequence: BigInt(next), serverTimeMs: BigInt(now.getTime()) };
  return { message: { $case: 'opened', value } };
}

function acknowledged(sequence: bigint): IngestResponse {
  return { message: { $case: 'acknowledged', value: { sequence } } };
}

/** Takes one stream's samples in. */
class Intake {
  /** The sequence number that is expected next. */
  next = 1;
  /** At least this many samples have a decision. */
  #decided = 0;
  readonly #environment: IngestEnvironment;
  readonly #owned: Owned;
  readonly #superseded = new AbortController();
  /**
   * That, or the end of the call. Made once: a signal remembers all that were made from it, for as long
   * as it lives.
   */
  readonly #over: AbortSignal;
  /** What it is doing; never rejects. */
  #working: Promise<void> = Promise.resolve();

  private constructor(environment: IngestEnvironment, owned: Owned, signal: AbortSignal) {
    this.#environment = environment;
    this.#owned = owned;
    this.#over = AbortSignal.any([signal, this.#superseded.signal]);
  }

  /**
   * A patient has one stream: a new one, after a connection was lost unnoticed, ends the old one. It
   * begins behind the sample that the old one may be storing yet.
   */
  static async begin(
    environment: IngestEnvironment,
    owned: Owned,
    newest: Map<PatientId, Intake>,
    signal: AbortSignal,
  ): Promise<Intake> {
    const { id } = owned.watched.patient;
    const old = newest.get(id);
    const intake = new Intake(environment, owned, signal);
    newest.set(id, intake);
    await intake.#busyWith(async () => {
      if (old !== undefined) await old.#end();
      intake.next = (await environment.store.samples.last(id)) + 1;
    });
    return intake;
  }

  /** When this resolves, the sample is on disk. One that is there already must be the same. */
  accept(sample: Sample): Promise<void> {
    return this.#busyWith(() => this.#accept(sample));
  }

  #busyWith(work: () => Promise<void>): Promise<void> {
    const done = work();
    this.#working = done.catch(() => undefined);
    return done;
  }

  /** Takes no more samples; resolves when the last one is stored, or is not going to be. */
  #end(): Promise<void> {
    this.#superseded.abort();
    return this.#working;
  }

  async #accept(sample: Sample): Promise<void> {
    const { bcp, store, clock } = this.#environment;
    const { lease, backlog, alarms } = this.#owned;
    const { suite, arrivals } = this.#owned.watched;
    this.#requireNewest();
    if (sample.sequence < 1n) {
      throw duoveilError('MESSAGE_INVALID', 'sample.sequence must be at least 1', {
        field: 'sample.sequence',
      });
    }
    this.#requireCount(sample.ciphertexts, suite.ciphertextsPerSample);
    const measuredAt = measuredAtOf(sample);
    const digest = digestOf(sample.ciphertexts);
    if (sample.sequence < BigInt(this.next)) {
      await this.#requireSame(sample.sequence, digest);
      return;
    }
    if (sample.sequence > BigInt(this.next)) {
      throw duoveilError(
        'SEQUENCE_GAP',
        `the next sample must have the sequence number ${String(this.next)}`,
        { expected: BigInt(this.next) },
      );
    }
    const ciphertexts = await decodeCiphertexts(
      sample.ciphertexts,
      'sample.ciphertexts',
      bcp.parameters,
      bcp.engine,
    );
    await this.#room();
    this.#requireNewest();
    const now = clock.now();
    const stored = { sequence: this.next, ciphertexts };
    await store.samples.append(lease, stored, digest, now, measuredAt);
    this.next += 1;
    alarms.seen(now);
    backlog.arrived(Number(sample.sequence), sample.traceparent);
    arrivals.ring();
  }

  #requireNewest(): void {
    if (this.#superseded.signal.aborted) {
      throw duoveilError('NOT_READY', "a newer stream of this patient's has taken over");
    }
  }

  async #requireSame(sequence: bigint, digest: Buffer): Promise<void> {
    const { store } = this.#environment;
    const stored = await store.samples.digest(this.#owned.lease.patient, Number(sequence));
    if (stored === undefined || !digest.equals(stored)) {
      throw duoveilError(
        'SEQUENCE_CONFLICT',
        `the sequence number ${String(sequence)} was used before for another sample`,
        { sequence },
      );
    }
  }

  #requireCount(ciphertexts: readonly EncodedCiphertext[], count: number): void {
    if (ciphertexts.length !== count) {
      throw duoveilError(
        'MESSAGE_INVALID',
        `sample.ciphertexts must have ${String(count)} elements`,
        { field: 'sample.ciphertexts' },
      );
    }
  }

  /** Wait until the monitor has caught up: gRPC's flow control then slows the gateway down. */
  async #room(): Promise<void> {
    const { progress, patient } = this.#owned.watched;
    // Looked up only where what is known does not say that there is room: it can only have grown.
    while (this.next - this.#decided > BACKLOG && !this.#over.aborted) {
      const heard = progress.count;
      this.#decided = await this.#environment.store.decisions.last(patient.id);
      if (this.next - this.#decided > BACKLOG) await progress.next(heard, this.#over);
    }
  }
}

/** The last moment that has a date of four digits, in milliseconds. */
const LAST_MOMENT_MS = 253_402_300_799_999n;

/** @throws DuoveilError `MESSAGE_INVALID` */
function measuredAtOf({ measuredAtMs: ms }: Sample): Date | undefined {
  if (ms === undefined || ms <= LAST_MOMENT_MS) return ms === undefined ? ms : new Date(Number(ms));
  throw duoveilError('MESSAGE_INVALID', 'sample.measured_at_ms must be before the year 10000', {
    field: 'sample.measured_at_ms',
  });
}

function digestOf(ciphertexts: readonly EncodedCiphertext[]): Buffer {
  const hash = createHash('sha256');
  for (const { a, b } of ciphertexts) hash.update(a).update(b);
  return hash.digest();
}
