/**
 * Work that serves everybody who asked before it began: one at a time, and one more for all who ask
 * while it is under way. Bringing one line to disk takes as long as bringing many.
 */
export class Grouped {
  readonly #work: () => Promise<void>;
  #current: Promise<void> = Promise.resolve();
  #running = false;
  #next: Promise<void> | undefined;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /** The work that is under way, or was last. */
  get current(): Promise<void> {
    return this.#current;
  }

  /** Work that begins after this call; it fails for all whom it serves. */
  run(): Promise<void> {
    if (!this.#running) return this.#begin();
    this.#next ??= this.#current
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.#begin();
      });
    return this.#next;
  }

  #begin(): Promise<void> {
    this.#running = true;
    this.#current = this.#work().finally(() => {
      this.#running = false;
    });
    return this.#current;
  }
}
