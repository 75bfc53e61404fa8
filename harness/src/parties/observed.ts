import type { Writable } from 'node:stream';

import { Child, type ChildOptions, type Ending } from './child.js';

/** A process whose output is kept, and can be waited for. */
export class Observed {
  /** Lines of standard output so far. */
  readonly output: readonly string[];
  /** Lines of standard error so far. */
  readonly log: readonly string[];
  readonly ended: Promise<Ending>;
  readonly #child: Child;
  readonly #waiting = new Set<() => void>();
  #ending: Ending | undefined;

  constructor(options: Omit<ChildOptions, 'onOutput' | 'onLog'>) {
    const output: string[] = [];
    const log: string[] = [];
    const takeInto = (lines: string[]) => (line: string) => {
      lines.push(line);
      this.#look();
    };
    this.output = output;
    this.log = log;
    this.#child = new Child({ ...options, onOutput: takeInto(output), onLog: takeInto(log) });
    this.ended = this.#child.ended.then((ending) => {
      this.#ending = ending;
      this.#look();
      return ending;
    });
  }

  /** @throws where the process could not be started */
  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error('the process was not started');
    return pid;
  }

  /** Standard input. */
  get input(): Writable {
    return this.#child.input;
  }

  /**
   * Waits until a condition holds; it is looked at now, after each line of output, and at the end.
   * @throws where the process ends first
   */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (condition()) resolve();
        else if (this.#ending === undefined) return;
        else reject(new Error(`the process ended first: ${this.#ending.lastWords}`));
        this.#waiting.delete(look);
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Send the process a signal; nothing where it has ended. */
  signal(name: NodeJS.Signals): void {
    this.#child.signal(name);
  }

  /** End the process, and wait. */
  async dispose(): Promise<void> {
    this.#child.kill();
    await this.ended;
  }

  #look(): void {
    for (const look of [...this.#waiting]) look();
  }
}
