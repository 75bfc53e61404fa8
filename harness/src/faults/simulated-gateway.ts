/**
 * A gateway that is a part of this process and can be ended as by a power failure: it runs what the
 * gateway's programme runs, and of a killed one nothing is left but what was in its directory.
 */
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';

import type { ModularEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import { abortReason, connect, silentLogger, type Tls } from '@duoveil/common/runtime';
import {
  openSpool,
  requireState,
  runRecording,
  stateFiles,
  type RunEvent,
  type Source,
  type SourceRow,
  type Spool,
} from '@duoveil/gateway/parts';

import { SEALING_KEY } from './sealing-key.js';

/** What a gateway is started with. */
export interface GatewayOptions {
  /** Of the service provider, or of what stands before it. */
  readonly address: string;
  readonly tls: Tls;
  readonly engine: ModularEngine;
  /** All rows; they are read as {@link SimulatedGateway.release} lets them. */
  readonly rows: readonly SourceRow[];
  /** A state directory, of a patient who is enrolled. */
  readonly directory: string;
  readonly onEvent: (event: RunEvent) => void;
  /** Spoils the spool, for tests with a bad one. */
  readonly meddleWithSpool?: (good: Spool) => Spool;
}

/** One after another: each goes on with what the one before left on its disk. */
export class SimulatedGateway {
  readonly #options: GatewayOptions;
  readonly #waiting = new Set<() => void>();
  #address: string;
  #directory: string;
  #life: Life | undefined;
  #lives = 0;
  #released = 0;
  /** Rejects where a gateway fails by itself; resolves when one has come to the last row. */
  readonly finished: Promise<void>;
  #settle: { resolve: () => void; reject: (error: unknown) => void } | undefined;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#address = options.address;
    this.#directory = options.directory;
    this.finished = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.finished.catch(() => undefined);
  }

  /** Its state directory: another one after it was killed. */
  get directory(): string {
    return this.#directory;
  }

  /** Begins, or begins again. */
  async start(): Promise<void> {
    const { tls, engine, onEvent } = this.#options;
    const { meddleWithSpool = (good: Spool) => good } = this.#options;
    const [address, directory] = [this.#address, this.#directory];
    const state = await requireState(directory);
    const context = { random: systemRandom, logger: silentLogger() };
    const { patient } = state;
    const spool = meddleWithSpool(
      await openSpool({ ...context, directory, patient, secret: SEALING_KEY }),
    );
    const connection = connect({ address, tls, expectRole: 'sp' });
    const end = new AbortController();
    this.#lives += 1;
    const running = runRecording(
      {
        source: this.#source(end.signal),
        recording: 'simulated',
        state,
        spool,
        connection,
        emit: (event) => {
          if (!end.signal.aborted) onEvent(event);
        },
        // Rows are sent one by one as they come, not in batches.
        realtime: true,
        engine,
        ...context,
        backoff: { firstMs: 20, longestMs: 250 },
      },
      end.signal,
    );
    this.#life = {
      spool,
      end,
      running,
      close: () => {
        connection.close();
      },
    };
    running.then(
      () => this.#settle?.resolve(),
      (error: unknown) => {
        if (!end.signal.aborted) this.#settle?.reject(error);
      },
    );
  }

  /** After it was stopped: the next one talks to another service provider, with another state directory. */
  moveTo(address: string, directory: string): void {
    this.#address = address;
    this.#directory = directory;
  }

  /** Lets it read so many rows more. */
  release(rows: number): void {
    this.#released += rows;
    for (const look of [...this.#waiting]) look();
  }

  /** Ends it as a power failure would: what is on its disk at this moment is all that is left. */
  async kill(): Promise<void> {
    this.#directory = this.#imageOfDisk();
    await this.stop();
  }

  /** Ends it. */
  async stop(): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    this.#life = undefined;
    life.close();
    life.end.abort(new Error('the gateway was ended'));
    await life.running.catch(() => undefined);
    life.spool.close();
  }

  /** Nothing is written while this goes on, and no transaction lasts longer than a turn. */
  #imageOfDisk(): string {
    const image = join(this.#options.directory, `after-${this.#lives}`);
    mkdirSync(image);
    const { gateway, secretKey, spool, spoolKey } = stateFiles(this.#directory);
    for (const file of [gateway, secretKey, spoolKey, spool]) {
      if (existsSync(file)) copyFileSync(file, join(image, basename(file)));
    }
    return image;
  }

  /** All rows for the check before the first is sent, then each as it is released. */
  #source(signal: AbortSignal): Source {
    const { rows } = this.#options;
    let iterations = 0;
    const released = (index: number): Promise<void> => this.#untilReleased(index, signal);
    return {
      name: 'simulated',
      async *[Symbol.asyncIterator]() {
        iterations += 1;
        const checking = iterations === 1;
        for (const row of rows) {
          if (!checking) await released(row.index);
          yield row;
        }
      },
    };
  }

  #untilReleased(index: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(look);
        signal.removeEventListener('abort', stop);
      };
      const look = (): void => {
        if (index >= this.#released) return;
        leave();
        resolve();
      };
      const stop = (): void => {
        leave();
        reject(abortReason(signal));
      };
      this.#waiting.add(look);
      signal.addEventListener('abort', stop);
      if (signal.aborted) stop();
      else look();
    });
  }
}

/** One gateway from its start to its end. */
interface Life {
  readonly spool: Spool;
  readonly end: AbortController;
  readonly running: Promise<unknown>;
  readonly close: () => void;
}
