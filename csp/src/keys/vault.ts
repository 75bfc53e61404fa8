import { duoveilError } from '@duoveil/common/errors';

/** What is there only while the CSP is unsealed. */
export interface Contents {
  /** Overwrite what can be overwritten. */
  wipe(): void;
}

/**
 * Sealed or unsealed: hands out what the master keys are needed for, and knows how many calls have it
 * in their hands. It starts sealed.
 */
export class Vault<C extends Contents> {
  #listener: (isOpen: boolean) => void = () => undefined;
  #contents: C | undefined;
  #calls = 0;
  #idle: (() => void) | undefined;

  get isOpen(): boolean {
    return this.#contents !== undefined;
  }

  /** Have somebody told whether it is open: now, and whenever that changes. */
  watch(listener: (isOpen: boolean) => void): void {
    this.#listener = listener;
    listener(this.isOpen);
  }

  /**
   * Do something with the contents. Whoever is in here is waited for when the vault is closed.
   * @throws DuoveilError `CSP_SEALED`
   */
  async use<Result>(work: (contents: C) => Promise<Result> | Result): Promise<Result> {
    const contents = this.#contents;
    if (contents === undefined) throw sealed();
    this.#calls += 1;
    try {
      return await work(contents);
    } finally {
      this.#calls -= 1;
      if (this.#calls === 0) this.#idle?.();
    }
  }

  /** Put the contents in. */
  open(contents: C): void {
    if (this.#contents !== undefined) throw new Error('the vault is open already');
    this.#contents = contents;
    this.#listener(true);
  }

  /**
   * Take the contents out, for good: no call gets them any more, those in progress may finish for at
   * most `graceMs` milliseconds, then they are wiped.
   * @returns whether it was open
   */
  async close(graceMs: number): Promise<boolean> {
    const contents = this.#contents;
    if (contents === undefined) return false;
    this.#contents = undefined;
    this.#listener(false);
    await this.#untilIdle(graceMs);
    contents.wipe();
    return true;
  }

  async #untilIdle(graceMs: number): Promise<void> {
    if (this.#calls === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.#idle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#idle = undefined;
  }
}

function sealed(): Error {
  return duoveilError(
    'CSP_SEALED',
    'the CSP is sealed: its custodians have to unseal it (duoveil csp unseal)',
  );
}
