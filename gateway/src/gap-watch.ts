import type { Logger } from '@duoveil/common/runtime';

/** The least that is called a gap, in milliseconds, and how many times the step before it. */
const LEAST_MS = 5000;
const TIMES_USUAL = 3;

/** Says where times jump. A gap stays one: nothing is put into it. */
export class GapWatch {
  readonly #logger: Logger;
  #last: number | undefined;
  #step = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Takes the time of the next complete row, in milliseconds since 1970. */
  reading(measuredAt: number): void {
    const step = this.#last === undefined ? 0 : measuredAt - this.#last;
    if (step > LEAST_MS && step > TIMES_USUAL * this.#step) {
      this.#logger.warn('nothing complete was measured for a time', { gapMs: step });
    } else this.#step = step;
    this.#last = measuredAt;
  }
}
