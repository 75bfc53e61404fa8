import { isOutlier, toNumber } from '@duoveil/common/encoding';
import { isDuoveilError, toDuoveilError } from '@duoveil/common/errors';
import {
  inSpan,
  metrics,
  type Bell,
  type Clock,
  type Logger,
  type Sleep,
} from '@duoveil/common/runtime';

import { isAccepted } from '../store/index.js';
import type {
  Decision,
  Lease,
  Patient,
  Store,
  StoredModel,
  StoredSample,
  TimedSample,
  TrainingReason,
} from '../store/index.js';
import type { AlarmKeeper } from './alarm-keeper.js';
import type { Backlog } from './backlog.js';
import type { MonitorObserver } from './observer.js';
import type { PatientSuite, Score } from './suite.js';

type Scored = Extract<Decision['outcome'], { kind: 'scored' }>;

/** What a patient's monitor works with. */
export interface MonitorEnvironment {
  /** The right to watch the patient. */
  readonly lease: Lease;
  readonly store: Store;
  readonly clock: Clock;
  readonly sleep: Sleep;
  readonly logger: Logger;
  /** Rung when a sample came in. */
  readonly arrivals: Bell;
  /** Rung by the monitor when a decision was made or a model trained. */
  readonly progress: Bell;
  readonly backlog: Backlog;
  readonly alarms: AlarmKeeper;
  /** Told of trainings; may be left out. */
  readonly observer?: MonitorObserver | undefined;
}

/** How long to wait after a failure before trying the same step again, in milliseconds. */
const PAUSE_MS = { first: 200, longest: 10_000 } as const;

/** Where a patient stands. All of it follows from the store: it is read back after every failure. */
interface Position {
  /** The last sample that has a decision. */
  decided: number;
  /** The model in force; undefined where one is learnt, for the first time or anew. */
  model: StoredModel | undefined;
  /** How many models there have been. */
  models: number;
  /** The last sample that no training is on any more; 0 for none. */
  floor: number;
  /** Samples accepted since the model in force was trained, or since the floor. */
  accepted: number;
  /** The last accepted samples, at most `window`, ascending: what a training would be on now. */
  window: readonly number[];
}

/**
 * Watches one patient: takes the samples in order, learns the baseline, decides, learns again.
 *
 * One step at a time: train where a training is due, else decide on the next sample, else wait. A
 * step ends with one transaction; a step that fails or is killed leaves nothing behind and is done
 * again from the start, under fresh masks, with the same exact result.
 */
export class PatientMonitor {
  readonly #patient: Patient;
  readonly #suite: PatientSuite;
  readonly #environment: MonitorEnvironment;

  constructor(patient: Patient, suite: PatientSuite, environment: MonitorEnvironment) {
    this.#patient = patient;
    this.#suite = suite;
    this.#environment = environment;
  }

  /**
   * Watch until the signal is aborted, or another process has taken the patient over. A step in
   * progress is finished first.
   */
  async run(stop: AbortSignal): Promise<void> {
    const { arrivals, progress, sleep, logger, alarms } = this.#environment;
    let position: Position | undefined;
    let pauseMs: number = PAUSE_MS.first;
    while (!stop.aborted) {
      const heard = arrivals.count;
      try {
        if (position && alarms.isStale && (await alarms.reload())) position = undefined;
        position ??= await this.#position();
        const progressed = await this.#step(position);
        pauseMs = PAUSE_MS.first;
        if (progressed) progress.ring();
        else await arrivals.next(heard, stop);
      } catch (error) {
        if (isDuoveilError(error, 'PATIENT_ELSEWHERE')) {
          logger.info('another service provider has taken the patient over');
          return;
        }
        if (isAborted(stop)) return;
        position = undefined;
        const waitMs = Math.max(pauseMs, budgetPauseMs(error));
        this.#report(error, waitMs);
        await sleep(waitMs, stop).catch(() => undefined);
        pauseMs = Math.min(2 * pauseMs, PAUSE_MS.longest);
      }
    }
  }

  async #position(): Promise<Position> {
    const { id } = this.#patient;
    const { store, backlog, alarms } = this.#environment;
    const { decisions, models, samples } = store;
    const decided = await decisions.last(id);
    backlog.restored(decided, await samples.last(id));
    await alarms.restore(decided);
    const floor = alarms.relearning?.after ?? 0;
    const latest = await models.latest(id);
    const model = latest && latest.throughSequence > floor ? latest : undefined;
    const begun = { decided, model, models: latest?.number ?? 0, floor, accepted: 0, window: [] };
    if (!this.#learns(model)) return begun;
    const { window } = this.#patient.policy;
    const trained = model?.throughSequence ?? floor;
    const accepted = (await decisions.accepted(id, window, trained)).filter((one) => one > floor);
    return {
      ...begun,
      accepted: accepted.filter((sequence) => sequence > trained).length,
      window: accepted.slice(-window),
    };
  }

  /** @returns whether there was anything to do. */
  async #step(position: Position): Promise<boolean> {
    if (this.#trainingIsDue(position)) {
      await inSpan('train', {}, () => this.#train(position));
      return true;
    }
    const { store, backlog } = this.#environment;
    const sample = await store.samples.find(this.#patient.id, position.decided + 1);
    if (sample === undefined) return false;
    const traceparent = backlog.traceparentOf(sample.sequence);
    await inSpan('decide', { traceparent }, () => this.#decide(position, sample));
    return true;
  }

  /** Is there a training to come? */
  #learns(model: StoredModel | undefined): boolean {
    return model === undefined || this.#patient.policy.baseline === 'rolling';
  }

  #trainingIsDue({ model, accepted }: Position): boolean {
    const { window, retrainEvery } = this.#patient.policy;
    return this.#learns(model) && accepted >= (model === undefined ? window : retrainEvery);
  }

  async #train(position: Position): Promise<void> {
    const { lease, store, clock, logger, observer } = this.#environment;
    const samples = await store.samples.all(this.#patient.id, position.window);
    const startedMs = clock.monotonicMs();
    const number = position.models + 1;
    const content = await this.#suite.train(samples, number);
    const model: StoredModel = {
      number,
      throughSequence: position.decided,
      content,
      trainMs: clock.monotonicMs() - startedMs,
    };
    const why = this.#reason(position);
    await store.models.insert(lease, model, position.window[0] ?? 1, clock.now(), why);
    position.model = model;
    position.models = number;
    position.accepted = 0;
    observer?.trained(this.#patient.id, number);
    metrics.trainings.record(model.trainMs / 1000);
    logger.info('baseline trained', { model: model.number, durationMs: model.trainMs });
  }

  /** Why there is a training now. */
  #reason({ model, models }: Position): TrainingReason {
    if (model !== undefined) return { reason: 'rolling', by: undefined };
    const { relearning } = this.#environment.alarms;
    if (models === 0 || relearning === undefined) return { reason: 'first', by: undefined };
    return { reason: relearning.reason, by: relearning.by };
  }

  async #decide(position: Position, sample: TimedSample): Promise<void> {
    const { lease, store, clock, backlog, alarms } = this.#environment;
    const decision: Decision = {
      sequence: sample.sequence,
      outcome:
        position.model === undefined
          ? { kind: 'learning' }
          : await this.#score(position.model, sample),
    };
    const keep = this.#learns(position.model);
    const change = alarms.changeBy(decision, sample);
    const changed = await store.decisions.insert(lease, decision, keep, clock.now(), change);
    position.decided = sample.sequence;
    backlog.decided(sample.sequence);
    alarms.decided(decision, sample, changed);
    measure(decision);
    if (isAccepted(decision.outcome)) this.#accept(position, sample.sequence);
    if (changed?.book.relearning?.after === sample.sequence) this.#forget(position);
  }

  /** Learn anew from the next sample on. */
  #forget(position: Position): void {
    this.#environment.logger.info('the baseline is learnt anew', { sequence: position.decided });
    position.floor = position.decided;
    position.model = undefined;
    position.accepted = 0;
    position.window = [];
  }

  #accept(position: Position, sequence: number): void {
    if (!this.#learns(position.model)) return;
    position.accepted += 1;
    position.window = [...position.window, sequence].slice(-this.#patient.policy.window);
  }

  async #score(model: StoredModel, sample: StoredSample): Promise<Decision['outcome']> {
    const { clock, logger } = this.#environment;
    const startedMs = clock.monotonicMs();
    const score = await this.#suite.score(model, sample);
    if (score === undefined) {
      logger.warn('a sample is not of its schema and cannot be scored', {
        sequence: sample.sequence,
      });
      return { kind: 'unscorable' };
    }
    return {
      kind: 'scored',
      ...this.#judged(score),
      model: model.number,
      latencyMs: clock.monotonicMs() - startedMs,
    };
  }

  #judged(score: Score): Pick<Scored, 'outlier' | 'statistic'> {
    if (score.kind === 'level') {
      return { outlier: score.level > 0, statistic: { kind: 'level', level: score.level } };
    }
    return {
      outlier: isOutlier(score.distance, this.#patient.policy.thresholdScaled),
      statistic: { kind: 'distance', squaredDistance: toNumber(score.distance) },
    };
  }

  #report(error: unknown, pauseMs: number): void {
    const known = toDuoveilError(error);
    const level = isDuoveilError(known, 'INTERNAL') ? 'error' : 'warn';
    metrics.stepFailures.add(1, { 'error.type': known.code });
    this.#environment.logger[level]('a step failed and will be done again', {
      error: known,
      pauseMs,
    });
  }
}

/** Asked anew: it changes while a step is waited for. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** A spent budget is there again after a time that the CSP tells: before, asking is of no use. */
function budgetPauseMs(error: unknown): number {
  return isDuoveilError(error, 'BUDGET_EXCEEDED') ? error.details.retryAfterMs : 0;
}

function measure({ outcome }: Decision): void {
  if (outcome.kind !== 'scored') {
    metrics.decisions.add(1, { 'duoveil.outcome': outcome.kind });
    return;
  }
  const { statistic, outlier, latencyMs } = outcome;
  metrics.scores.record(latencyMs / 1000);
  metrics.decisions.add(1, {
    'duoveil.outcome': 'scored',
    'duoveil.outlier': outlier,
    ...(statistic.kind === 'level' && { 'duoveil.level': statistic.level }),
  });
}
