/** Files that are looked at again and again: what they hold comes into force without a restart. */
import { createHash } from 'node:crypto';

import { LiveReading, readSettingFile, type Logger } from '@duoveil/common/runtime';

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
  readonly #reading: LiveReading<readonly Buffer[]>;
  #current: T;

  private constructor(options: LiveFilesOptions<T>, contents: readonly Buffer[]) {
    this.#options = options;
    this.#current = options.parse(contents);
    this.#reading = this.#read(options, contents);
  }

  /** @throws DuoveilError `CONFIG_INVALID` where they cannot be used */
  static async open<T>(options: LiveFilesOptions<T>): Promise<LiveFiles<T>> {
    return new LiveFiles(options, await read(options));
  }

  /** What is in force. */
  get current(): T {
    return this.#current;
  }

  /** Has a function called with whatever replaces it; where that throws, nothing is replaced. */
  subscribe(listener: (value: T) => void): void {
    this.#listeners.add(listener);
  }

  /**
   * Looks now. What cannot be used is refused, and what was in force stays so.
   * @param asked as {@link LiveReading.look} says
   */
  reload(asked = false): Promise<void> {
    return this.#reading.look(asked);
  }

  /** Looks no more. */
  close(): void {
    this.#reading.close();
  }

  #read(
    { setting, reloadMs, logger }: LiveFilesOptions<T>,
    inForce: readonly Buffer[],
  ): LiveReading<readonly Buffer[]> {
    return new LiveReading(
      {
        read: () => read(this.#options),
        digestOf,
        accept: (contents) => {
          this.#accept(this.#options.parse(contents));
        },
        refuse: (error) => {
          logger.warn(`${setting} cannot be used; what was in force stays so`, { error });
        },
        reloadMs,
        onHangUp: true,
      },
      inForce,
    );
  }

  #accept(value: T): void {
    for (const listener of this.#listeners) listener(value);
    this.#current = value;
    this.#options.logger.info(`${this.#options.setting} reloaded`);
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
