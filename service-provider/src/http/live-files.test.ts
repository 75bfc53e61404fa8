import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';

import { duoveilError } from '@duoveil/common/errors';
import { createLogger } from '@duoveil/common/runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { LiveFiles } from './live-files.js';

let directory: string;
let files: string[];
let warnings: string[];
let live: LiveFiles<string>;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-test-'));
  files = [join(directory, 'certificate'), join(directory, 'key')];
  warnings = [];
  await write('one', 'one');
  const stream = new Writable({
    write: (line: Buffer, _encoding, done) => {
      warnings.push(line.toString('utf8'));
      done();
    },
  });
  const logger = createLogger({ service: 'sp', level: 'warn', stream });
  live = await LiveFiles.open({ files, setting: 'pair', parse, reloadMs: 0, logger });
});
afterEach(async () => {
  live.close();
  await rm(directory, { recursive: true, force: true });
});

async function write(...contents: string[]): Promise<void> {
  for (const [i, content] of contents.entries()) await writeFile(files[i] ?? '', content);
}

function parse([certificate, key]: readonly Buffer[]): string {
  if (certificate?.toString() === key?.toString()) return String(key);
  throw duoveilError('CONFIG_INVALID', 'they are no pair', { path: 'pair' });
}

describe('live files', () => {
  it('are not warned about while one of them is written yet', async () => {
    await write('two');
    await live.reload();
    expect([live.current, warnings]).toEqual(['one', []]);
    await write('two', 'two');
    await live.reload();
    expect([live.current, warnings]).toEqual(['two', []]);
  });

  it('are warned about, once, where they stay wrong', async () => {
    await write('two');
    for (let i = 0; i < 3; i += 1) await live.reload();
    expect(live.current).toBe('one');
    expect(warnings).toEqual([expect.stringContaining('they are no pair')]);
  });

  it('stay as they were where what follows them cannot use the new ones', async () => {
    const heard: string[] = [];
    live.subscribe((value) => {
      heard.push(value);
      if (value === 'two') throw duoveilError('CONFIG_INVALID', 'not two', { path: 'pair' });
    });
    await write('two', 'two');
    await live.reload(true);
    expect([live.current, heard]).toEqual(['one', ['two']]);
    await write('three', 'three');
    await live.reload();
    expect([live.current, heard]).toEqual(['three', ['two', 'three']]);
  });
});
