/** Files that are looked at again and again: what they hold comes into force without a restart. */
import { createHash } from 'node:crypto';

import { toDuoveilError } from '@duoveil/common/errors';
import { readSettingFile, type Logger } from '@duoveil/common/runtime';

/** Which files, and what they hold. */
export interface LiveFilesOptions<T> {
  /** In the order that `parse` gets their contents in. */
  readonly files: readonly string[];
  /** The setting that names them, for errors and logs. */
  readonly setting: string;
  /** @throws DuoveilError `CONFIG_INVALID` */
  readonly parse: (contents: readonly Buffer[]) => T;
  /** How often they are looked at, in milliseconds; 0 for on SIGHUP only. */
  readonly reloadMs: number;
  readonly logger: Logger;
}

/** See the file's comment. */
export class LiveFiles<T> {
  readonly #options: LiveFilesOptions<T>;
  readonly #listeners = new Set<(value: T) => void>();
  readonly #closers: (() => void)[] = [];
  #current: T;
  #digest: string;
  #refused: string | undefined;
  #looking: Promise<void> = Promise.resolve();

  private constructor(options: LiveFilesOptions<T>, current: T, digest: string) {
    this.#options = options;
    this.#current = current;
    this.#digest = digest;
  }

  /** @throws DuoveilError `CONFIG_INVALID` where they cannot be used */
  static async open<T>(options: LiveFilesOptions<T>): Promise<LiveFiles<T>> {
    const contents = await read(options);
    const live = new LiveFiles(options, options.parse(contents), digestOf(contents));
    live.#watch();
    return live;
  }

  /** What is in force. */
  get current(): T {
    return this.#current;
  }

  /** Has a function called with whatever replaces it. */
  subscribe(listener: (value: T) => void): void {
    this.#listeners.add(listener);
  }

  /** Looks now. What cannot be used is refused, and what was in force stays so. */
  reload(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  close(): void {
    for (const close of this.#closers.splice(0)) close();
  }

  async #look(): Promise<void> {
    const { setting, logger } = this.#options;
    let digest = '';
    try {
      const contents = await read(this.#options);
      digest = digestOf(contents);
      if (digest !== this.#digest) this.#accept(this.#options.parse(contents), digest);
      this.#refused = undefined;
    } catch (error) {
      // Once for each thing that is wrong, not with every look.
      if (this.#refused === digest) return;
      this.#refused = digest;
      logger.warn(`${setting} cannot be used; what was in force stays so`, {
        error: toDuoveilError(error),
      });
    }
  }

  #accept(value: T, digest: string): void {
    this.#current = value;
    this.#digest = digest;
    this.#options.logger.info(`${this.#options.setting} reloaded`);
    for (const listener of this.#listeners) listener(value);
  }

  #watch(): void {
    const look = (): void => void this.reload();
    process.on('SIGHUP', look);
    this.#closers.push(() => process.off('SIGHUP', look));
    const { reloadMs } = this.#options;
    if (reloadMs === 0) return;
    const timer = setInterval(look, reloadMs).unref();
    this.#closers.push(() => {
      clearInterval(timer);
    });
  }
}

function read({ files, setting }: LiveFilesOptions<unknown>): Promise<Buffer[]> {
  return Promise.all(files.map((file) => readSettingFile(file, setting)));
}

function digestOf(contents: readonly Buffer[]): string {
  const hash = createHash('sha256');
  for (const content of contents) hash.update(`${content.length}:`).update(content);
  return hash.digest('hex');
}
