import { duoveilError } from '@duoveil/common/errors';

import { Child, type ChildOptions, type Ending } from './child.js';

/** Restarts after which a process that keeps dying is given up. */
const MAX_RESTARTS = 20;

/** A process that is started again when it dies unasked. */
export class Supervised {
  /** What the process is called in an error. */
  readonly name: string;
  readonly #options: (restart: number) => ChildOptions;
  readonly #onRestart: (ending: Ending) => void;
  #child: Child;
  #stopping = false;
  #restarting = false;
  #restarts = 0;
  /** Resolves when the process has ended of itself with status 0 or was stopped; rejects where it failed. */
  readonly finished: Promise<void>;

  /**
   * @param options how to start it, given how often it was started before
   */
  constructor(
    name: string,
    options: (restart: number) => ChildOptions,
    onRestart: (ending: Ending) => void = () => undefined,
  ) {
    this.name = name;
    this.#options = options;
    this.#onRestart = onRestart;
    this.#child = new Child(options(0));
    this.finished = this.#supervise();
    // Whoever is interested looks at it later; until then a failure is not unhandled.
    this.finished.catch(() => undefined);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** End the process as a power failure would; it is started again. */
  kill(): void {
    this.#child.kill();
  }

  /** Send the process a signal; nothing where it has ended. */
  signal(name: NodeJS.Signals): void {
    this.#child.signal(name);
  }

  /** Ask it to stop; it is started again. Resolves when it was. */
  async restart(): Promise<void> {
    this.#restarting = true;
    await this.#child.stop();
  }

  /** Ask it to stop, for good. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#child.stop();
    await this.finished.catch(() => undefined);
  }

  async #supervise(): Promise<void> {
    for (;;) {
      const ending = await this.#child.ended;
      if (this.#stopping) return;
      const asked = this.#restarting;
      this.#restarting = false;
      if (asked && (ending.code === 0 || ending.signal !== null)) {
        this.#child = new Child(this.#options(this.#restarts));
        continue;
      }
      if (ending.code === 0) return;
      // A status says that the process gave up for a reason: that does not pass by itself.
      if (ending.signal === null || this.#restarts >= MAX_RESTARTS) throw this.#failure(ending);
      this.#restarts += 1;
      this.#onRestart(ending);
      this.#child = new Child(this.#options(this.#restarts));
    }
  }

  #failure({ code, signal, lastWords }: Ending): Error {
    const [, message = lastWords, errorCode = ''] =
      /^duoveil: (.*) \[([A-Z_]+)\]$/.exec(lastWords) ?? [];
    const what = message === '' ? `ended with ${String(signal ?? code)}` : message;
    // The user's own mistakes are theirs here too: same code, same exit status.
    return code === 2
      ? duoveilError('OPTION_INVALID', what, { option: this.name })
      : duoveilError('PEER_UNAVAILABLE', `${this.name}: ${what}${errorCode && ` (${errorCode})`}`, {
          peer: this.name,
        });
  }
}
