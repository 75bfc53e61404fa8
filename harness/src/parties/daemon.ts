import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { within } from './deadlines.js';

/** How a server that is not of this project is started. */
export interface DaemonOptions {
  /** What it is, for errors: `a PostgreSQL`. */
  readonly name: string;
  /** Its programme and arguments. */
  readonly command: readonly string[];
  /** Part of the line on standard error that says that it is up. */
  readonly ready: string;
  /** What ends it. */
  readonly stopSignal: 'TERM' | 'QUIT';
  readonly environment?: NodeJS.ProcessEnv;
  /** The working directory; this process's by default. */
  readonly directory?: string;
  /** Whom it runs as; by default as this process. */
  readonly account?: { readonly uid?: number; readonly gid?: number };
}

/** How long it may take to come up, in milliseconds. */
const READY_MS = 60_000;

/** Ends the server when standard input ends, and itself when the server has ended. */
const whileStdin = (stopSignal: string): string =>
  [
    'exec 3<&0',
    '"$@" 3<&- & server=$!',
    `{ cat <&3; kill -${stopSignal} $server; } > /dev/null 2>&1 & watch=$!`,
    'wait $server',
    'kill $watch',
  ].join('\n');

/** A server that is not of this project. It never outlives who started it: its life is a pipe from here. */
export class Daemon {
  readonly #process: ChildProcess;
  readonly #closed: Promise<unknown>;

  private constructor(process: ChildProcess) {
    this.#process = process;
    this.#closed = once(process, 'close');
  }

  /**
   * Starts one, and waits until it is up.
   * @throws where it ends instead, or takes longer than a minute, with the last line that it said
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const { name, command, ready, stopSignal, environment, directory, account } = options;
    const child = spawn('sh', ['-c', whileStdin(stopSignal), 'sh', ...command], {
      ...account,
      env: environment,
      cwd: directory,
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    child.stdin.on('error', () => undefined);
    const daemon = new Daemon(child);
    let said = '';
    const isUp = new Promise<boolean>((resolve) => {
      const lines = createInterface({ input: child.stderr });
      lines.on('line', (line) => {
        said = line;
        if (line.includes(ready)) resolve(true);
      });
      lines.on('close', () => {
        resolve(false);
      });
    });
    try {
      const starting = (): string => `starting ${name}, which last said "${said}",`;
      if (await within(READY_MS, starting, isUp)) return daemon;
      throw new Error(`${name} did not start: ${said}`);
    } catch (error) {
      await daemon.stop();
      throw error;
    }
  }

  /** Ends it with its signal, and waits until it has ended. */
  async stop(): Promise<void> {
    this.#process.stdin?.end();
    await this.#closed;
  }
}
