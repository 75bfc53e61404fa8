/** A small file in a state directory that is written again and again while a run goes on. */
import { writeFileAtomic } from '@duoveil/common/runtime';
import type { Logger } from '@duoveil/common/runtime';

/**
 * Writes in the background, one content at a time: of those that come meanwhile, the last one counts. A
 * failure to write is logged and changes nothing else.
 */
export class NotedFile {
  readonly #path: string;
  readonly #what: string;
  readonly #logger: Logger;
  #next: object | undefined;
  #writing: Promise<void> | undefined;

  /** @param what is in it, for the log */
  constructor(path: string, what: string, logger: Logger) {
    this.#path = path;
    this.#what = what;
    this.#logger = logger;
  }

  /** Writes this in place of what is there. */
  write(content: object): void {
    this.#next = content;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Resolves when the last content is written, or could not be. */
  async close(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    for (let content = this.#take(); content !== undefined; content = this.#take()) {
      try {
        await writeFileAtomic(this.#path, `${JSON.stringify(content)}\n`);
      } catch (error) {
        this.#logger.warn(`${this.#what} could not be written down`, { error });
      }
    }
  }

  #take(): object | undefined {
    const content = this.#next;
    this.#next = undefined;
    return content;
  }
}
