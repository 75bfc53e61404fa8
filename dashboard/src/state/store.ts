/** A value that can be watched. */
export interface Store<T> {
  readonly value: T;
  /** Call back after each change until the returned function is called. */
  subscribe(listener: () => void): () => void;
}

/** A value that its owner sets. */
export class Writable<T> implements Store<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
