import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { silentLogger } from '@duoveil/common/runtime';
import type { Logger } from '@duoveil/common/runtime';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { readTold, ToldFile } from './told-file.js';

let directory: string;
let nowMs: number;
const clock = { now: () => new Date(0), monotonicMs: () => nowMs };
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-test-'));
  nowMs = 0;
});
afterEach(() => rm(directory, { recursive: true }));

describe('the file of what was told', () => {
  it('is written seldom, and at the end', async () => {
    expect(await readTold(directory)).toBeUndefined();
    const told = new ToldFile(directory, silentLogger(), clock);
    told.take(1);
    await vi.waitUntil(async () => (await readTold(directory)) === 1);
    for (nowMs = 1000; nowMs < 5000; nowMs += 1000) told.take(1 + nowMs / 1000);
    const file = join(directory, 'told.json');
    expect(await readFile(file, 'utf8')).toBe('{"version":1,"sequence":1}\n');
    told.take(6);
    await vi.waitUntil(async () => (await readTold(directory)) === 6);
    told.take(7);
    told.take(8);
    await told.close();
    expect(await readTold(directory)).toBe(8);
  });

  it('is not there where nothing was told, and says so where it is damaged', async () => {
    await new ToldFile(directory, silentLogger(), clock).close();
    expect(await readTold(directory)).toBeUndefined();
    await writeFile(join(directory, 'told.json'), '{"version":1}');
    await expect(readTold(directory)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('may fail to be written: that is logged, and nothing else', async () => {
    const warn = vi.fn();
    const logger: Logger = Object.assign(silentLogger(), { warn });
    const told = new ToldFile(join(directory, 'nowhere'), logger, clock);
    told.take(1);
    await told.close();
    expect(warn).toHaveBeenCalledWith('what was printed could not be written down', {
      error: expect.objectContaining({ code: 'STORAGE_FAILED' }) as unknown,
    });
  });
});
