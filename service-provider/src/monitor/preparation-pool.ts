import type { PreparedScore } from '@duoveil/common/protocols/packed';
import { metrics } from '@duoveil/common/runtime';

/** Preparations that a patient's pool holds: a burst of samples is scored without waiting for one. */
const CAPACITY = 3;

/**
 * Scores prepared ahead, for one model of one patient. Bounded, refilled in the background after each
 * use, in memory only: what is lost with the process was never shown to anybody. Where the pool is
 * empty, a score is prepared on the spot: that is slower and nothing else.
 */
export class PreparationPool {
  readonly #prepare: () => Promise<PreparedScore>;
  readonly #ready: PreparedScore[] = [];
  #filling = false;

  constructor(prepare: () => Promise<PreparedScore>) {
    this.#prepare = prepare;
  }

  /** How many are ready. */
  get size(): number {
    return this.#ready.length;
  }

  /** A preparation that nobody had before and nobody gets again. */
  async take(): Promise<PreparedScore> {
    metrics.poolFill.record(this.size, { 'duoveil.pool': 'preparations' });
    return this.#ready.pop() ?? (await this.#prepare());
  }

  /** Fill up in the background. Called when a score is done, so that preparing does not delay it. */
  refill(): void {
    if (this.#filling) return;
    this.#filling = true;
    void this.#fill().finally(() => {
      this.#filling = false;
    });
  }

  async #fill(): Promise<void> {
    try {
      while (this.#ready.length < CAPACITY) this.#ready.push(await this.#prepare());
    } catch {
      // The pool stays short: a score that needs a preparation meets the same error, and reports it.
    }
  }
}
