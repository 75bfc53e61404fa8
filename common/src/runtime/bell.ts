import { abortReason } from './clock.js';

/**
 * Tells those who wait that something may have changed. A bell that was rung since one last looked
 * does not let one wait, so no change is missed between looking and waiting.
 */
export class Bell {
  #count = 0;
  readonly #waiting = new Set<() => void>();

  /** How often it was rung. Read it before looking at what it announces. */
  get count(): number {
    return this.#count;
  }

  ring(): void {
    this.#count += 1;
    for (const wake of [...this.#waiting]) wake();
  }

  /** Resolves as soon as the bell has been rung more often than `heard`, or the signal is aborted. */
  next(heard: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (this.#count > heard || signal?.aborted === true) {
        resolve();
        return;
      }
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }

  /**
   * Waits until a condition holds; it is looked at now and after each ring.
   * @throws the signal's reason once that is aborted
   */
  async until(condition: () => boolean, signal?: AbortSignal): Promise<void> {
    for (;;) {
      if (signal?.aborted === true) throw abortReason(signal);
      if (condition()) return;
      await this.next(this.#count, signal);
    }
  }
}
