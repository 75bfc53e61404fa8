/**
 * A recording from its first row to its last decision: read, quantise, encrypt, spool, send, watch.
 *
 * Every run begins at the first row. Complete rows are numbered from 1, so that a number stands for
 * the same row each time: what the service provider or the spool has already is not encrypted again,
 * and its decisions come out again, in order, from the first. Of a series that was moved from another
 * generation of keys, the first is the first after the move.
 */
import { duoveilError } from '@duoveil/common/errors';
import type { ModularEngine } from '@duoveil/common/modular';
import type { RandomSource } from '@duoveil/common/random';
import { metrics, systemClock, systemSleep } from '@duoveil/common/runtime';
import type { Clock, Connection, Logger, Sleep } from '@duoveil/common/runtime';

import type { BackoffOptions } from './backoff.js';
import { besideUplink } from './beside-uplink.js';
import { BoundedQueue } from './bounded-queue.js';
import { checkRecording } from './check-recording.js';
import { watchDecisions } from './decisions.js';
import type { DecisionEvent, Outcome } from './decisions.js';
import { Pacer } from './pacer.js';
import { outcomeEvent, Tally } from './run-events.js';
import type { RunEvent, RunSummary } from './run-events.js';
import { quantiseSourceRow, sampleBytes, SampleEncoder } from './sample.js';
import type { PlainSample } from './sample.js';
import type { Source } from './sources/index.js';
import type { Spool } from './spool.js';
import type { GatewayState, Moved } from './state.js';

/** What a run needs. */
export interface RecordingOptions {
  readonly source: Source;
  /** What tells this recording from others, for good: its absolute path. */
  readonly recording: string;
  readonly state: GatewayState;
  readonly spool: Spool;
  /** To the service provider. */
  readonly connection: Connection;
  /** Takes each event, in order; the run waits for it. */
  readonly emit: (event: RunEvent) => Promise<void> | void;
  /**
   * Pace the rows that are not sent yet at their own rate, instead of as fast as they go, and tell the
   * service provider when each was measured: as the source says, else now.
   */
  readonly realtime?: boolean;
  readonly engine: ModularEngine;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly sleep?: Sleep;
  /** The pauses between connections. */
  readonly backoff?: Pick<BackoffOptions, 'firstMs' | 'longestMs'>;
}

/** Rows that wait for their event. They are small: a number each, or the reason for skipping. */
const ROWS_WAITING = 4096;

/** Rows that are encrypted at once: enough to keep the cores busy. */
const BATCH = 8;

/** A row that was read and whose event is still to come. */
type WaitingRow =
  | { readonly index: number; readonly sequence: number }
  | { readonly index: number; readonly skipped: string };

/**
 * Runs a recording until the event of its last row, or until the signal is aborted. It may be run
 * again, after whatever happened: the events are the same, from the first row on.
 * @throws INPUT_INVALID before anything is sent; as {@link besideUplink} and {@link watchDecisions};
 * STORAGE_FULL, STORAGE_FAILED of the spool; what `emit` throws
 */
export async function runRecording(
  options: RecordingOptions,
  signal: AbortSignal,
): Promise<RunSummary> {
  const { source, state, spool, recording } = options;
  const { schema, policy, parameters } = state;
  const { complete } = await checkRecording(source, schema, policy.window, signal);
  requireSameRecording(options);
  spool.beginRecording(recording);
  const tally = await new Run(options).toTheEnd(signal);
  const { realtime = false, clock = systemClock } = options;
  const now = realtime ? clock.now().getTime() : undefined;
  const bytesPerSample = sampleBytes(state, complete, now);
  return tally.summary(policy, bytesPerSample, parameters.bits);
}

/** A second recording would pass for the first: its rows have the same numbers. */
function requireSameRecording({ source, recording, spool, state }: RecordingOptions): void {
  if (spool.last === 0 || spool.recording === undefined || spool.recording === recording) return;
  throw duoveilError(
    'INPUT_INVALID',
    `${source.name}: the series of ${state.patient} was begun with ${spool.recording}; a series is one ` +
      'recording: enrol another patient, with a state directory of its own, for this one',
    { source: source.name },
  );
}

/** What the series begins with in the place of rows: nothing, unless it was moved. */
function beginningOf({ moved = { samples: 0, after: 0 } }: GatewayState): Moved {
  return moved;
}

function lostBeginning({ patient }: GatewayState): Error {
  return duoveilError(
    'SEQUENCE_GAP',
    `the samples that the series of ${patient} was moved with have not arrived: run "duoveil gateway ` +
      'move" again; if it was done, the service provider has lost them: restore its store',
    { expected: 1n },
  );
}

/** The parts of a run, and what flows between them. */
class Run {
  readonly #options: RecordingOptions;
  readonly #rows = new BoundedQueue<WaitingRow>(ROWS_WAITING);
  readonly #tally = new Tally();

  constructor(options: RecordingOptions) {
    this.#options = options;
  }

  async toTheEnd(parent: AbortSignal): Promise<Tally> {
    const { state } = this.#options;
    const { patient, parameters } = state;
    // Every run reads from the first row on, and begins when the first stream is open.
    const ours = { patient, parametersDigest: parameters.digest, canRepeat: true };
    const uplink = { ...this.#options, ...ours };
    const work = (signal: AbortSignal): Promise<void>[] => [
      this.#read(signal),
      this.#report(signal),
    ];
    await besideUplink({ uplink, waitUntilOpen: true, work }, parent);
    return this.#tally;
  }

  /** Reads the rows, and encrypts and spools those that are not spooled or sent yet. */
  async #read(signal: AbortSignal): Promise<void> {
    const { source, state, spool, engine, random, realtime = false } = this.#options;
    const { clock = systemClock, sleep = systemSleep } = this.#options;
    const pacer = new Pacer(clock, sleep);
    const encoder = SampleEncoder.of(state, engine, random);
    const known = spool.last;
    const { samples, after } = beginningOf(state);
    if (known < samples) throw lostBeginning(state);
    let batch: PlainSample[] = [];
    const flush = async (): Promise<void> => {
      if (batch.length > 0) await spool.put(await encoder.encode(batch), signal);
      metrics.rows.add(batch.length, { 'duoveil.outcome': 'sent' });
      batch = [];
    };
    let sequence = samples - after;
    for await (const row of source) {
      if (realtime && sequence >= known) await pacer.wait(row, signal);
      // What the queue's reader waits for may still be in the batch.
      if (this.#rows.full) await flush();
      const quantised = quantiseSourceRow(state.schema, row);
      if ('skipped' in quantised) {
        if (sequence < samples) continue;
        metrics.rows.add(1, { 'duoveil.outcome': 'skipped' });
        await this.#rows.push({ index: row.index, skipped: quantised.skipped }, signal);
        continue;
      }
      sequence += 1;
      if (sequence <= samples) continue;
      await this.#rows.push({ index: row.index, sequence }, signal);
      if (sequence <= known) continue;
      const measuredAt = realtime ? (row.measuredAt ?? clock.now().getTime()) : undefined;
      batch.push({ sequence, values: quantised.complete, measuredAt });
      if (realtime || batch.length >= BATCH) await flush();
    }
    await flush();
    this.#rows.end();
  }

  /** Gives each row its event, in order. */
  async #report(signal: AbortSignal): Promise<void> {
    const { state } = this.#options;
    const { patient, policy } = state;
    const series = { patient, output: policy.output, from: beginningOf(state).samples + 1 };
    const decisions = watchDecisions({ ...this.#options, ...series, signal });
    try {
      for await (const row of this.#rows.items(signal)) {
        await this.#emit(
          'skipped' in row
            ? { kind: 'skipped', index: row.index, reason: row.skipped }
            : outcomeEvent({ index: row.index }, await this.#nextOutcome(decisions)),
        );
      }
    } finally {
      await decisions.return(undefined as never);
    }
  }

  /** The next decision: rows and decisions have the same order, both without gaps. */
  async #nextOutcome(decisions: AsyncGenerator<DecisionEvent, never>): Promise<Outcome> {
    for (;;) {
      const { value: event } = await decisions.next();
      if (event.kind === 'decision') return event.outcome;
      await this.#emit({ kind: 'trained', model: event.model, trainMs: event.trainMs });
    }
  }

  async #emit(event: RunEvent): Promise<void> {
    this.#tally.add(event);
    await this.#options.emit(event);
  }
}
