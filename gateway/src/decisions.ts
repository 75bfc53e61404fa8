/** What the service provider decides about the gateway's own patient. */
import type { Output } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import type { RandomSource } from '@duoveil/common/random';
import { callServerStream } from '@duoveil/common/runtime';
import type { Connection, Logger, PatientId, Sleep } from '@duoveil/common/runtime';
import { MonitoringServiceService } from '@duoveil/proto';
import type { Decision, Scored, WatchResponse } from '@duoveil/proto';

import { Backoff } from './backoff.js';
import type { BackoffOptions } from './backoff.js';
import { misbehaved, sequenceOf } from './wire.js';

/** What is told of a scored sample, by the policy's output. */
export type Statistic =
  | { readonly kind: 'distance'; readonly squaredDistance: number }
  | { readonly kind: 'level'; readonly level: number };

/** What became of a sample. */
export type Outcome =
  | { readonly kind: 'learning' }
  | { readonly kind: 'unscorable' }
  | {
      readonly kind: 'scored';
      readonly outlier: boolean;
      readonly statistic: Statistic;
      /** The number of the model that it was scored against, from 1. */
      readonly model: number;
      /** From the moment the service provider took the sample up to the decision. */
      readonly latencyMs: number;
    };

/** An event of a patient's series. */
export type DecisionEvent =
  | { readonly kind: 'decision'; readonly sequence: number; readonly outcome: Outcome }
  | {
      readonly kind: 'trained';
      /** The model's number, from 1. */
      readonly model: number;
      /** The last sample that was decided before. */
      readonly throughSequence: number;
      readonly trainMs: number;
    };

/** What watching needs. */
export interface WatchOptions {
  /** To the service provider. */
  readonly connection: Connection;
  readonly patient: PatientId;
  /** What the patient's policy says; another statistic is refused. */
  readonly output: Output;
  /** The first sequence number to report on, from 1. */
  readonly from: number;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** The pauses between streams. */
  readonly backoff?: Pick<BackoffOptions, 'firstMs' | 'longestMs'>;
  readonly sleep?: Sleep;
}

/**
 * The decisions, in order: each sequence number once and none left out, whatever happens to the
 * connection; between them the trainings, each once. Ends only by throwing or by being left.
 * @throws PEER_MISBEHAVED where the service provider skips or repeats one; the signal's reason; any
 * error of the service provider that cannot pass by itself
 */
export async function* watchDecisions(options: WatchOptions): AsyncGenerator<DecisionEvent, never> {
  const { connection, patient, output, signal, random, logger, sleep } = options;
  const { peer } = connection;
  const backoff = new Backoff({
    ...options.backoff,
    random,
    logger: logger.child({ stream: 'watch' }),
    ...(sleep !== undefined && { sleep }),
  });
  let next = options.from;
  let model = 0;
  for (;;) {
    try {
      const request = { patientId: patient, fromSequence: BigInt(next) };
      const watch = MonitoringServiceService.watch;
      for await (const response of callServerStream(connection, watch, request, { signal })) {
        const event = decodeEvent(response, output, peer);
        if (event.kind === 'trained') {
          // A new stream begins with the trainings just before its first sample.
          if (event.model <= model) continue;
          model = event.model;
        } else {
          if (event.sequence !== next) {
            throw misbehaved(peer, `sent decision ${event.sequence} where ${next} is the next one`);
          }
          next += 1;
        }
        backoff.reset();
        yield event;
      }
      throw duoveilError('PEER_UNAVAILABLE', `the ${peer} ended the stream`, { peer });
    } catch (error) {
      await backoff.after(error, signal);
    }
  }
}

function decodeEvent({ event }: WatchResponse, output: Output, peer: string): DecisionEvent {
  switch (event?.$case) {
    case 'decision':
      return {
        kind: 'decision',
        sequence: sequenceOf(event.value.sequence, 1, peer),
        outcome: decodeOutcome(event.value, output, peer),
      };
    case 'trained': {
      const { model, throughSequence, trainMs } = event.value;
      return {
        kind: 'trained',
        model,
        throughSequence: sequenceOf(throughSequence, 1, peer),
        trainMs: duration(trainMs, peer),
      };
    }
    case undefined:
      throw misbehaved(peer, 'sent an event that is none');
  }
}

function decodeOutcome({ outcome }: Decision, output: Output, peer: string): Outcome {
  switch (outcome?.$case) {
    case 'learning':
      return { kind: 'learning' };
    case 'unscorable':
      return { kind: 'unscorable' };
    case 'scored': {
      const { outlier, model, latencyMs } = outcome.value;
      return {
        kind: 'scored',
        outlier,
        statistic: decodeStatistic(outcome.value, output, peer),
        model,
        latencyMs: duration(latencyMs, peer),
      };
    }
    case undefined:
      throw misbehaved(peer, 'sent a decision without an outcome');
  }
}

function decodeStatistic({ statistic }: Scored, output: Output, peer: string): Statistic {
  if (statistic?.$case === 'squaredDistance' && output === 'distance') {
    if (statistic.value >= 0 && Number.isFinite(statistic.value)) {
      return { kind: 'distance', squaredDistance: statistic.value };
    }
  }
  if (statistic?.$case === 'level' && output === 'level') {
    return { kind: 'level', level: statistic.value };
  }
  throw misbehaved(peer, `sent a decision without a proper ${output}`);
}

function duration(ms: number, peer: string): number {
  if (ms >= 0 && Number.isFinite(ms)) return ms;
  throw misbehaved(peer, 'sent a duration that is none');
}
