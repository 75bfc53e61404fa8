import type { Supervised } from '../parties/supervised.js';

/** A server of a deployment: a process of its own, which is supervised as in production. */
export class Server {
  readonly #process: () => Supervised;
  readonly #start: () => Promise<void>;
  #isStopped = false;

  /** @internal */
  constructor(process: () => Supervised, start: () => Promise<void>) {
    this.#process = process;
    this.#start = start;
  }

  /** The process at the moment. */
  get pid(): number | undefined {
    return this.#process().pid;
  }

  /** Ends the process as a power failure would. It is started again at once, on the same port. */
  kill(): void {
    this.#process().kill();
  }

  /** Stops it in an orderly way and starts it again, on the same port. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Stops it in an orderly way, until {@link Server.start}. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    await this.#process().stop();
  }

  /** Starts it again after {@link Server.stop}; resolves when it listens. */
  async start(): Promise<void> {
    if (!this.#isStopped) return;
    await this.#start();
    this.#isStopped = false;
  }
}
