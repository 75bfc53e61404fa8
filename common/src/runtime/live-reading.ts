/** What is read again and again, on a timer and on SIGHUP, so that a change comes into force without a restart. */
import { toDuoveilError } from '../errors.js';
import type { DuoveilError } from '../errors.js';

/** What is read, and what becomes of it. */
export interface LiveReadingOptions<T> {
  /** @throws where it cannot be read */
  readonly read: () => Promise<T>;
  /** Tells one content from another. */
  readonly digestOf: (content: T) => string;
  /**
   * Brings a changed content into force.
   * @throws where it cannot be used; what was in force stays so
   */
  readonly accept: (content: T) => Promise<void> | void;
  /** Told why something cannot be read or used, once for each thing that is wrong. */
  readonly refuse: (error: DuoveilError) => void;
  /** Called after each look. */
  readonly looked?: () => void;
  /** How often to look, in milliseconds; 0 for when asked only. */
  readonly reloadMs: number;
  /** Look on SIGHUP, too? */
  readonly onHangUp: boolean;
}

/** See the file's comment. */
export class LiveReading<T> {
  readonly #options: LiveReadingOptions<T>;
  readonly #closers: (() => void)[] = [];
  /** Digests of what is in force, and of what was refused last. */
  #accepted: string;
  #refused: string | undefined;
  #refusalWasTold = false;
  #looking: Promise<void> = Promise.resolve();

  /** @param inForce what was read before */
  constructor(options: LiveReadingOptions<T>, inForce: T) {
    this.#options = options;
    this.#accepted = options.digestOf(inForce);
    this.#watch();
  }

  /**
   * Looks now.
   * @param asked somebody waits for the outcome: what cannot be used is told at the first look, not at
   * the second, when it cannot be half written any more
   */
  look(asked = false): Promise<void> {
    // One look after the other: an older one must not undo a newer one.
    this.#looking = this.#looking.then(() => this.#look(asked));
    return this.#looking;
  }

  /** Looks no more. */
  close(): void {
    for (const close of this.#closers.splice(0)) close();
  }

  async #look(asked: boolean): Promise<void> {
    const { read, digestOf, accept, looked } = this.#options;
    let digest: string | undefined;
    try {
      const content = await read();
      digest = digestOf(content);
      if (digest !== this.#accepted) await accept(content);
      this.#accepted = digest;
      this.#refused = undefined;
    } catch (thrown) {
      const error = toDuoveilError(thrown);
      this.#refuse(digest ?? error.message, error, asked);
    }
    looked?.();
  }

  #refuse(digest: string, error: DuoveilError, asked: boolean): void {
    const isNew = digest !== this.#refused;
    if (isNew) this.#refusalWasTold = false;
    this.#refused = digest;
    if (this.#refusalWasTold || (isNew && !asked)) return;
    this.#refusalWasTold = true;
    this.#options.refuse(error);
  }

  #watch(): void {
    const { reloadMs, onHangUp } = this.#options;
    if (onHangUp) {
      const look = (): void => void this.look(true);
      process.on('SIGHUP', look);
      this.#closers.push(() => process.off('SIGHUP', look));
    }
    if (reloadMs === 0) return;
    const timer = setInterval(() => void this.look(), reloadMs).unref();
    this.#closers.push(() => {
      clearInterval(timer);
    });
  }
}
