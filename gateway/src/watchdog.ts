/** Calls back when something that is awaited does not happen in time. */
export class Watchdog {
  readonly #onExpired: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(onExpired: () => void) {
    this.#onExpired = onExpired;
  }

  /** Begins to wait, unless it waits already. */
  arm(timeoutMs: number): void {
    this.#timer ??= setTimeout(this.#onExpired, timeoutMs);
  }

  /** What was awaited has happened. */
  disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
