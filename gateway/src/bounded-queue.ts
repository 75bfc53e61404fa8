import { Bell } from '@duoveil/common/runtime';

/** A queue between one writer and one reader that lets the writer run ahead only so far. */
export class BoundedQueue<T> {
  readonly #capacity: number;
  readonly #items: T[] = [];
  readonly #bell = new Bell();
  #ended = false;

  /** @param capacity the most items that wait, at least 1 */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Would {@link push} wait? */
  get full(): boolean {
    return this.#items.length >= this.#capacity;
  }

  /** Adds an item; waits for room first. */
  async push(item: T, signal: AbortSignal): Promise<void> {
    await this.#bell.until(() => !this.full, signal);
    this.#items.push(item);
    this.#bell.ring();
  }

  /** Says that no more items follow. */
  end(): void {
    this.#ended = true;
    this.#bell.ring();
  }

  /** The items, in order, until the end. */
  async *items(signal: AbortSignal): AsyncGenerator<T, void> {
    for (;;) {
      await this.#bell.until(() => this.#items.length > 0 || this.#ended, signal);
      const [item] = this.#items.splice(0, 1);
      if (item === undefined) return;
      this.#bell.ring();
      yield item;
    }
  }
}
