/**
 * A live source for as long as it goes: read, quantise, encrypt, spool; meanwhile send and watch.
 *
 * Nothing is read twice. A sample gets the next number of the series when it is spooled, and a run goes on
 * behind the last one. Reading waits for the spool and for nothing else: without a connection it goes on
 * until the spool is full, and then it is the source's turn to wait.
 */
import type { ModularEngine } from '@duoveil/common/modular';
import type { RandomSource } from '@duoveil/common/random';
import { linkedAbort, metrics, systemClock } from '@duoveil/common/runtime';
import type { Clock, Connection, Logger, Sleep } from '@duoveil/common/runtime';

import type { BackoffOptions } from './backoff.js';
import { besideUplink } from './beside-uplink.js';
import { BoundedQueue } from './bounded-queue.js';
import { ClockWatch } from './clock-watch.js';
import type { ClockOffsets } from './clock-watch.js';
import { watchDecisions } from './decisions.js';
import { GapWatch } from './gap-watch.js';
import { beginLiveSeries } from './live-series.js';
import { outcomeEvent, Tally } from './run-events.js';
import type { LiveEvent, RunSummary } from './run-events.js';
import { quantiseSourceRow, sampleBytes, SampleEncoder } from './sample.js';
import { inOrder } from './sources/index.js';
import type { OpenSource, SourceRow } from './sources/index.js';
import type { Spool } from './spool.js';
import type { GatewayState } from './state.js';
import type { UplinkOptions } from './uplink.js';

/** What a live run needs. */
export interface LiveOptions {
  /** Opens the source; once. */
  readonly source: OpenSource;
  readonly state: GatewayState;
  readonly spool: Spool;
  /** To the service provider. */
  readonly connection: Connection;
  /**
   * The last sample whose decision a run before has emitted: the decisions on those that follow it come
   * first. Without it, there are none on samples from before.
   */
  readonly toldBefore?: number | undefined;
  /** Called when the decision on a sample is emitted. */
  readonly onTold?: (sequence: number) => void;
  /** Takes each event: decisions in order, skipped rows in order, the two as they come. */
  readonly emit: (event: LiveEvent) => Promise<void> | void;
  /** Told each time a clock has been compared with the one here. */
  readonly onClocks?: (offsets: ClockOffsets) => void;
  readonly engine: ModularEngine;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly sleep?: Sleep;
  /** The pauses between connections. */
  readonly backoff?: Pick<BackoffOptions, 'firstMs' | 'longestMs'>;
}

/** Skipped rows that wait to be told; what does not find room is counted only. */
const SKIPPED_WAITING = 1024;

/**
 * Runs until the source has ended and every sample has its decision, or until the signal is aborted: that
 * is the usual end, and what waits in the spool is sent by the next run.
 * @throws INPUT_INVALID where the series was begun with a recording; as {@link besideUplink} and
 * {@link watchDecisions}; what the source throws, also before anything is sent; STORAGE_FULL,
 * STORAGE_FAILED of the spool; what `emit` throws
 */
export async function runLive(options: LiveOptions, signal: AbortSignal): Promise<RunSummary> {
  const { state, spool, clock = systemClock } = options;
  beginLiveSeries(state, spool);
  const run = new LiveRun(options);
  try {
    await run.toTheEnd(signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  const bytesPerSample = sampleBytes(state, spool.last, clock.now().getTime());
  return run.tally.summary(state.policy, bytesPerSample, state.parameters.bits);
}

/** The parts of a run, and what they share. */
class LiveRun {
  readonly tally = new Tally();
  readonly #options: LiveOptions;
  readonly #skipped = new BoundedQueue<LiveEvent>(SKIPPED_WAITING);
  /** The last sample whose decision is out. */
  #told = 0;
  #sourceEnded = false;
  /** Ends the watching where nothing is left to be decided. */
  #stopIfDone: () => void = () => undefined;

  constructor(options: LiveOptions) {
    this.#options = options;
  }

  async toTheEnd(parent: AbortSignal): Promise<void> {
    const { spool, logger, clock } = this.#options;
    const clocks = new ClockWatch(logger, clock);
    const work = (signal: AbortSignal): Promise<void>[] => {
      this.#told = Math.min(this.#options.toldBefore ?? spool.last, spool.last);
      return [this.#read(signal, clocks), this.#tellDecisions(signal), this.#tellSkipped(signal)];
    };
    try {
      // A spool that was never used does not know where the series stands.
      const waitUntilOpen = spool.last === 0;
      await besideUplink({ uplink: this.#uplink(clocks), waitUntilOpen, work }, parent);
    } finally {
      clocks.close();
    }
  }

  #uplink(clocks: ClockWatch): UplinkOptions {
    const { state, onClocks } = this.#options;
    const { patient, parameters } = state;
    return {
      ...this.#options,
      patient,
      parametersDigest: parameters.digest,
      onServerTime: (time) => {
        clocks.serverTime(time);
        onClocks?.(clocks.offsets);
      },
    };
  }

  async #read(signal: AbortSignal, clocks: ClockWatch): Promise<void> {
    const { source, state, spool, engine, random, logger, onClocks } = this.#options;
    const encoder = SampleEncoder.of(state, engine, random);
    const gaps = new GapWatch(logger);
    const rows = inOrder(source(signal, logger), {
      after: spool.lastMeasuredAt,
      onSetBack: (byMs) => {
        logger.warn("the device's clock was set back; its times count from here on", { byMs });
      },
    });
    for await (const row of rows) {
      const quantised = quantiseSourceRow(state.schema, row);
      if ('skipped' in quantised) {
        await this.#skip(row, quantised.skipped, signal);
        continue;
      }
      const { measuredAt } = row;
      if (measuredAt !== undefined) {
        clocks.reading(measuredAt);
        gaps.reading(measuredAt);
        onClocks?.(clocks.offsets);
      }
      const sample = { sequence: spool.last + 1, values: quantised.complete, measuredAt };
      await spool.put(await encoder.encode([sample]), signal);
      metrics.rows.add(1, { 'duoveil.outcome': 'sent' });
    }
    this.#sourceEnded = true;
    this.#skipped.end();
    this.#stopIfDone();
  }

  async #skip({ measuredAt }: SourceRow, reason: string, signal: AbortSignal): Promise<void> {
    metrics.rows.add(1, { 'duoveil.outcome': 'skipped' });
    // Whoever reads the output may be slow; reading must not wait for that.
    if (this.#skipped.full) return;
    await this.#skipped.push({ kind: 'skipped', reason, measuredAt }, signal);
  }

  async #tellSkipped(signal: AbortSignal): Promise<void> {
    for await (const event of this.#skipped.items(signal)) await this.#emit(event);
  }

  async #tellDecisions(signal: AbortSignal): Promise<void> {
    const { state, spool, onTold } = this.#options;
    const { patient, policy } = state;
    const watch = linkedAbort(signal);
    const done = new Error('everything is decided');
    this.#stopIfDone = () => {
      if (this.#sourceEnded && this.#told >= spool.last) watch.abort(done);
    };
    const series = { patient, output: policy.output, from: this.#told + 1, signal: watch.signal };
    try {
      for await (const event of watchDecisions({ ...this.#options, ...series })) {
        if (event.kind === 'decision') {
          await this.#emit(outcomeEvent({ sequence: event.sequence }, event.outcome));
          this.#told = event.sequence;
          onTold?.(event.sequence);
          this.#stopIfDone();
        } else await this.#emit({ kind: 'trained', model: event.model, trainMs: event.trainMs });
      }
    } catch (error) {
      if (watch.signal.reason !== done) throw error;
    } finally {
      watch.release();
    }
  }

  async #emit(event: LiveEvent): Promise<void> {
    this.tally.add(event);
    await this.#options.emit(event);
  }
}
