import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';

/** How a party's programme is started. */
export interface ChildOptions {
  /** The file to run with this Node.js. */
  readonly programme: string;
  readonly arguments: readonly string[];
  /** Added to the environment: secrets go this way, never as arguments. */
  readonly environment?: Readonly<Record<string, string>>;
  /** The working directory; this process's by default. */
  readonly directory?: string;
  /** Called with each line of standard output. */
  readonly onOutput?: (line: string) => void;
  /** Called with each line of standard error. */
  readonly onLog?: (line: string) => void;
}

/** How a process ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last line of standard error: what it said went wrong. */
  readonly lastWords: string;
}

/** A party's process. It ends with this one, however that ends: its standard input is a pipe from here. */
export class Child {
  readonly #process: ChildProcess;
  /** Standard input. */
  readonly input: Writable;
  /** Resolves when the process has ended and everything that it wrote has been read. */
  readonly ended: Promise<Ending>;

  constructor(options: ChildOptions) {
    const child = spawn(process.execPath, [options.programme, ...options.arguments], {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: options.directory,
      env: { ...process.env, ...options.environment, DUOVEIL_STOP_ON_STDIN_END: '1' },
    });
    let lastWords = '';
    child.stdin.on('error', () => undefined);
    createInterface({ input: child.stdout }).on('line', (line) => options.onOutput?.(line));
    createInterface({ input: child.stderr }).on('line', (line) => {
      lastWords = line;
      options.onLog?.(line);
    });
    this.#process = child;
    this.input = child.stdin;
    this.ended = once(child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      lastWords,
    }));
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Ask the process to stop, wait, and end it where it does not within `graceMs`. */
  async stop(graceMs = 15_000): Promise<Ending> {
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), graceMs);
    const ending = await this.ended;
    clearTimeout(timer);
    return ending;
  }

  /** End the process as a power failure would. */
  kill(): void {
    this.signal('SIGKILL');
  }

  /** Send the process a signal; nothing where it has ended. */
  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }
}
