import { inspect } from 'node:util';

/**
 * A value that cannot be printed: strings, JSON, `util.inspect`, loggers and template literals all
 * show `[secret]`. It is read only where {@link Secret.reveal} is called, which is easy to search for.
 */
export class Secret<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** The value itself. Never pass the result to anything that prints or stores. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}
