import { inspect } from 'node:util';

/**
 * A value that cannot be printed: strings, JSON, `util.inspect`, loggers and template literals all
 * show `[secret]`. It is read only where {@link Secret.reveal} is called, which is easy to search for.
 */
export class Secret<T> {
  #held: { readonly value: T } | undefined;

  constructor(value: T) {
    this.#held = { value };
  }

  /** The value itself. Never pass the result to anything that prints or stores. */
  reveal(): T {
    if (this.#held === undefined) throw new Error('the secret was forgotten');
    return this.#held.value;
  }

  /** Let go of the value, wherever this secret is still known. Bytes are overwritten first. */
  forget(): void {
    const value = this.#held?.value;
    if (value instanceof Uint8Array) value.fill(0);
    this.#held = undefined;
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
