import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { readJsonFile, storageError, writeFileAtomic, writeNewFileAtomic } from './files.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-files-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('writing a file atomically', () => {
  it('replaces the whole file, with the mode asked for, and leaves nothing beside it', async () => {
    const path = join(directory, 'state');
    await writeFileAtomic(path, 'a much longer first content');
    await writeFileAtomic(path, Buffer.from('second'), 0o644);
    expect(await readFile(path, 'utf8')).toBe('second');
    expect((await stat(path)).mode & 0o777).toBe(0o644);
    await writeFileAtomic(path, 'third');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(['state']);
  });

  it('as a new one overwrites nothing, and one of many writers has it', async () => {
    const path = join(directory, 'state');
    const contents = ['a', 'b', 'c', 'd'];
    const written = await Promise.allSettled(contents.map((one) => writeNewFileAtomic(path, one)));
    const first = contents.filter((_, index) => written[index]?.status === 'fulfilled');
    expect(first).toHaveLength(1);
    expect(await readFile(path, 'utf8')).toBe(first[0]);
    await expect(writeNewFileAtomic(path, 'late')).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('EEXIST') as string,
    });
    expect(await readFile(path, 'utf8')).toBe(first[0]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(['state']);
  });

  it('keeps the old file and nothing else where it fails', async () => {
    await expect(writeFileAtomic(join(directory, 'no', 'file'), 'x')).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
    });
    // A directory stands in the way of the rename.
    await expect(writeFileAtomic(directory, 'x')).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
    });
    expect((await readdir(tmpdir())).filter((name) => name.endsWith('.tmp'))).not.toContainEqual(
      expect.stringContaining(directory),
    );
  });

  it('tells a full disk from other failures', () => {
    const full = Object.assign(new Error('x'), { code: 'ENOSPC' });
    expect(storageError(full, 'cannot write')).toMatchObject({ code: 'STORAGE_FULL' });
    expect(storageError(new Error('x'), 'cannot write')).toMatchObject({ code: 'STORAGE_FAILED' });
  });
});

describe('reading a JSON file', () => {
  const schema = z.strictObject({ a: z.object({ b: z.array(z.number()) }) });
  it('checks its form and names the key that is wrong, without quoting it', async () => {
    const path = join(directory, 'x.json');
    await writeFile(path, '{"a":{"b":[1,2]}}');
    await expect(readJsonFile(path, schema, 'state')).resolves.toEqual({ a: { b: [1, 2] } });

    await writeFile(path, '{"a":{"b":[1,"private"]}}');
    const error: unknown = await readJsonFile(path, schema, 'state').catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', details: { path: 'a.b.1' } });
    await writeFile(path, 'private');
    const notJson: unknown = await readJsonFile(path, schema, 'state').catch(
      (thrown: unknown) => thrown,
    );
    expect(notJson).toMatchObject({ code: 'CONFIG_INVALID', details: { path: 'state' } });
    expect(String(error) + String(notJson)).not.toContain('private');
  });
});
