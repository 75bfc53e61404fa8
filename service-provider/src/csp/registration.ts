/**
 * A key that the CSP keeps in memory only, and what the CSP calls it: registered when its name is first
 * needed, and again once the CSP turns out to have forgotten it (`KEY_NOT_REGISTERED`).
 */
export class Registration {
  readonly #register: (signal: AbortSignal) => Promise<Buffer>;
  #id: Promise<Buffer> | undefined;

  /** @param register makes the key known to the CSP; resolves with its name there */
  constructor(register: (signal: AbortSignal) => Promise<Buffer>) {
    this.#register = register;
  }

  /** The key's name, registered if need be. */
  id(signal: AbortSignal): Promise<Buffer> {
    this.#id ??= this.#register(signal).catch((error: unknown) => {
      this.#id = undefined;
      throw error;
    });
    return this.#id;
  }

  /** The CSP has forgotten the key: register it again next time. */
  forget(): void {
    this.#id = undefined;
  }
}
