import { metrics, type Clock } from '@duoveil/common/runtime';

/**
 * A sample that comes in later than this after the patient's one before counts as late, in milliseconds.
 * It may have been measured in time: what was not is an alarm's matter.
 */
const LATE_MS = 10_000;

/** How long a context of W3C Trace Context is, version 00. */
const TRACEPARENT_LENGTH = 55;

/** A sample that waits for its decision. */
interface WaitingSample {
  readonly sequence: number;
  /** By the clock's monotonic time. */
  readonly arrivedMs: number;
  /** The trace that the gateway began for it, if it did. */
  readonly traceparent: string | undefined;
}

/**
 * One patient's samples that wait for a decision, as metrics and traces see them. It is in memory only,
 * and nothing is decided by it.
 */
export class Backlog {
  readonly #clock: Clock;
  /** In order, without gaps. */
  #waiting: WaitingSample[] = [];
  #decided = 0;
  #lastArrivalMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many wait. */
  get size(): number {
    return this.#waiting.length;
  }

  /** For how long the oldest has been waiting, in milliseconds; 0 where there is none. */
  get lagMs(): number {
    const [oldest] = this.#waiting;
    return oldest === undefined ? 0 : this.#clock.monotonicMs() - oldest.arrivedMs;
  }

  /** A sample was stored. */
  arrived(sequence: number, context?: string): void {
    // A gateway may send anything, and it is kept until the decision.
    const traceparent = context?.length === TRACEPARENT_LENGTH ? context : undefined;
    const arrivedMs = this.#clock.monotonicMs();
    metrics.samples.add(1);
    if (arrivedMs - (this.#lastArrivalMs ?? arrivedMs) > LATE_MS) metrics.lateSamples.add(1);
    this.#lastArrivalMs = arrivedMs;
    // The monitor may have been quicker.
    if (sequence <= this.#decided) return;
    // It may be known already, from the store.
    while ((this.#waiting.at(-1)?.sequence ?? 0) >= sequence) this.#waiting.pop();
    this.#waiting.push({ sequence, arrivedMs, traceparent });
  }

  /** What the store says: of those in between, the ones that are not known here came just now. */
  restored(decided: number, last: number): void {
    this.#decided = decided;
    const known = new Map(this.#waiting.map((sample) => [sample.sequence, sample]));
    const arrivedMs = this.#clock.monotonicMs();
    const through = Math.max(last, this.#waiting.at(-1)?.sequence ?? 0);
    this.#waiting = Array.from({ length: Math.max(through - decided, 0) }, (_, i) => {
      const sequence = decided + 1 + i;
      return known.get(sequence) ?? { sequence, arrivedMs, traceparent: undefined };
    });
  }

  /** The trace that a sample belongs to. */
  traceparentOf(sequence: number): string | undefined {
    return this.#waiting.find((sample) => sample.sequence === sequence)?.traceparent;
  }

  /** A decision was stored; so is every earlier one. */
  decided(sequence: number): void {
    this.#decided = sequence;
    let sample: WaitingSample | undefined;
    while ((this.#waiting[0]?.sequence ?? Infinity) <= sequence) sample = this.#waiting.shift();
    if (sample?.sequence !== sequence) return;
    metrics.decisionDelay.record((this.#clock.monotonicMs() - sample.arrivedMs) / 1000);
  }
}
