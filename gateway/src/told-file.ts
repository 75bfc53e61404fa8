/**
 * The last sample of a live series whose decision was printed: a file in the state directory, so that
 * the next run prints those that were made when none ran.
 */
import { join } from 'node:path';

import { isDuoveilError } from '@duoveil/common/errors';
import { readJsonFile, systemErrorCode } from '@duoveil/common/runtime';
import type { Clock, Logger } from '@duoveil/common/runtime';
import { z } from 'zod';

import { NotedFile } from './noted-file.js';

const fileSchema = z.strictObject({ version: z.literal(1), sequence: z.int().min(0) });

/** A write for each decision would wear out the disk of a small device, in milliseconds. */
const EVERY_MS = 5_000;

/** Keeps the file: what was printed in the last {@link EVERY_MS} before a crash is printed again. */
export class ToldFile {
  readonly #file: NotedFile;
  readonly #clock: Clock;
  #sequence: number | undefined;
  #writtenAt = -Infinity;

  constructor(directory: string, logger: Logger, clock: Clock) {
    this.#file = new NotedFile(toldFile(directory), 'what was printed', logger);
    this.#clock = clock;
  }

  /** The decision on a sample was printed. */
  take(sequence: number): void {
    this.#sequence = sequence;
    const now = this.#clock.monotonicMs();
    if (now - this.#writtenAt < EVERY_MS) return;
    this.#writtenAt = now;
    this.#write();
  }

  /** Writes down the last one. */
  async close(): Promise<void> {
    this.#write();
    await this.#file.close();
  }

  #write(): void {
    if (this.#sequence === undefined) return;
    const content: z.input<typeof fileSchema> = { version: 1, sequence: this.#sequence };
    this.#file.write(content);
  }
}

/**
 * The last sample whose decision the runs before have printed; undefined where there was no run.
 * @throws CONFIG_INVALID where the file is damaged
 */
export async function readTold(directory: string): Promise<number | undefined> {
  try {
    return (await readJsonFile(toldFile(directory), fileSchema, 'state')).sequence;
  } catch (error) {
    if (isDuoveilError(error) && systemErrorCode(error.cause) === 'ENOENT') return undefined;
    throw error;
  }
}

function toldFile(directory: string): string {
  return join(directory, 'told.json');
}
