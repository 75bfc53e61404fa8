/** What a live run knows of other clocks, where `duoveil gateway status` finds it: a file in the state directory. */
import { join } from 'node:path';

import { readJsonFile, systemErrorCode } from '@duoveil/common/runtime';
import type { Logger } from '@duoveil/common/runtime';
import { isDuoveilError } from '@duoveil/common/errors';
import { z } from 'zod';

import type { ClockOffsets } from './clock-watch.js';
import { NotedFile } from './noted-file.js';

const fileSchema = z.strictObject({
  version: z.literal(1),
  /** How far each clock was ahead of the gateway's, in milliseconds. */
  device: z.number().optional(),
  serviceProvider: z.number().optional(),
});

/** A change of an offset by less than this is not worth a write, in milliseconds. */
const NOTABLE_MS = 1000;

/** Keeps the file. */
export class ClockFile {
  readonly #file: NotedFile;
  #written: ClockOffsets | undefined;

  constructor(directory: string, logger: Logger) {
    this.#file = new NotedFile(clockFile(directory), 'what is known of clocks', logger);
  }

  /** Writes offsets down where they have changed. */
  take(offsets: ClockOffsets): void {
    if (!isNotable(this.#written, offsets)) return;
    this.#written = offsets;
    const content: z.input<typeof fileSchema> = { version: 1, ...offsets };
    this.#file.write(content);
  }

  /** As {@link NotedFile.close}. */
  close(): Promise<void> {
    return this.#file.close();
  }
}

/**
 * What the last live run knew; nothing where there was none.
 * @throws CONFIG_INVALID where the file is damaged
 */
export async function readClocks(directory: string): Promise<ClockOffsets> {
  try {
    const content = await readJsonFile(clockFile(directory), fileSchema, 'state');
    return { device: content.device, serviceProvider: content.serviceProvider };
  } catch (error) {
    if (isDuoveilError(error) && systemErrorCode(error.cause) === 'ENOENT') return {};
    throw error;
  }
}

function clockFile(directory: string): string {
  return join(directory, 'clocks.json');
}

function isNotable(before: ClockOffsets | undefined, now: ClockOffsets): boolean {
  if (before === undefined) return true;
  return (['device', 'serviceProvider'] as const).some((clock) => {
    const [old, current] = [before[clock], now[clock]];
    if (old === undefined || current === undefined) return old !== current;
    return Math.abs(old - current) >= NOTABLE_MS;
  });
}
