/** What happened lately: how often, and how long it took. */
import type { Clock } from '@duoveil/common/runtime';

import type { Quantiles } from './system.js';

/** Durations count for this long, in milliseconds. */
const KEPT_MS = 300_000;
/** The rate is that of this long. */
const RATE_MS = 60_000;
/** Durations that are kept at most: the latest. */
const KEPT = 8_192;

/** Durations, each with the moment that it ended; memory is bounded. */
export class Recent {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  /** A ring: what is written next overwrites the oldest. */
  readonly #durationsMs = new Float64Array(KEPT);
  readonly #endedMs = new Float64Array(KEPT).fill(-Infinity);
  #next = 0;

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  add(durationMs: number): void {
    this.#durationsMs[this.#next] = durationMs;
    this.#endedMs[this.#next] = this.#clock.monotonicMs();
    this.#next = (this.#next + 1) % KEPT;
  }

  /** By nearest rank. */
  quantiles(): Quantiles {
    const since = this.#clock.monotonicMs() - KEPT_MS;
    const kept = this.#durationsMs
      .filter((_, i) => (this.#endedMs[i] ?? -Infinity) >= since)
      .sort();
    const rank = (share: number): number | null => kept[Math.ceil(share * kept.length) - 1] ?? null;
    return { p50: rank(0.5), p95: rank(0.95), p99: rank(0.99) };
  }

  /** How many a second, over the last minute; where more have come than are kept, over what those span. */
  perSecond(): number {
    const now = this.#clock.monotonicMs();
    const ends = this.#endedMs.filter((at) => at >= now - RATE_MS);
    if (ends.length < KEPT) return ends.length / (RATE_MS / 1000);
    return ends.length / (Math.max(1, now - Math.min(...ends)) / 1000);
  }
}
