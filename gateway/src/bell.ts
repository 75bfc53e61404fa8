/**
 * Tells those who wait that something may have changed. A bell that was rung since one last looked
 * does not let one wait, so no change is missed between looking and waiting.
 */
import { abortReason } from '@duoveil/common/runtime';

/** See the file's comment. */
export class Bell {
  readonly #waiting = new Set<() => void>();

  /** Wake everybody who waits. */
  ring(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /**
   * Waits until a condition holds; it is looked at now and after each ring.
   * @throws the signal's reason once that is aborted
   */
  async until(condition: () => boolean, signal?: AbortSignal): Promise<void> {
    for (;;) {
      if (signal?.aborted === true) throw abortReason(signal);
      if (condition()) return;
      await this.#next(signal);
    }
  }

  #next(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }
}
