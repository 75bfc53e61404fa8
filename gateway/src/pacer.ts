import type { Clock, Sleep } from '@duoveil/common/runtime';

/** A row's time, where the source tells it. */
interface Timed {
  readonly seconds?: number;
}

/** Lets rows through at their own rate: by their times where both neighbours have one, else at 1 Hz. */
export class Pacer {
  readonly #clock: Clock;
  readonly #sleep: Sleep;
  #previous: { readonly row: Timed; readonly dueMs: number } | undefined;

  constructor(clock: Clock, sleep: Sleep) {
    this.#clock = clock;
    this.#sleep = sleep;
  }

  /** Waits until a row is due; the first one is due at once. */
  async wait(row: Timed, signal: AbortSignal): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const dueMs =
      this.#previous === undefined
        ? nowMs
        : this.#previous.dueMs + 1000 * stepSeconds(this.#previous.row, row);
    this.#previous = { row, dueMs };
    if (dueMs > nowMs) await this.#sleep(dueMs - nowMs, signal);
  }
}

function stepSeconds(previous: Timed, row: Timed): number {
  if (previous.seconds === undefined || row.seconds === undefined) return 1;
  return Math.max(0, row.seconds - previous.seconds);
}
