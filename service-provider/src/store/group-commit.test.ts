import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { openDatabase, type Connection } from './database.js';
import { GroupCommit } from './group-commit.js';

describe('commits in groups', () => {
  let directory: string;
  let db: Connection;
  let commits: GroupCommit;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'duoveil-commits-'));
    db = await openDatabase(join(directory, 'store.db'));
    commits = new GroupCommit(db);
  });

  afterEach(async () => {
    await db.destroy();
    await rm(directory, { recursive: true, force: true });
  });

  const parameters = (digest: string) => ({
    digest,
    family: 'residue',
    modulus: Buffer.alloc(1),
    generator: Buffer.alloc(1),
  });

  const write = (...digests: string[]): Promise<void> =>
    commits.write(async (transaction) => {
      for (const digest of digests) {
        await transaction.insertInto('parameters').values(parameters(digest)).execute();
      }
    });

  const written = async (): Promise<string[]> => {
    const rows = await db.selectFrom('parameters').select('digest').orderBy('digest').execute();
    return rows.map(({ digest }) => digest);
  };

  test('what comes together is written, all of it', async () => {
    await Promise.all([write('a'), write('b'), write('c', 'd')]);
    expect(await written()).toEqual(['a', 'b', 'c', 'd']);
  });

  test('what comes while others are committed is written next', async () => {
    const first = write('a');
    await new Promise(setImmediate);
    await Promise.all([first, write('b')]);
    expect(await written()).toEqual(['a', 'b']);
  });

  test('what fails leaves nothing behind and takes nobody along', async () => {
    const outcomes = await Promise.allSettled([write('a'), write('b', 'a'), write('c')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await written()).toEqual(['a', 'c']);
    await write('d');
    expect(await written()).toEqual(['a', 'c', 'd']);
  });

  test('one that fails alone is refused with its own reason', async () => {
    await write('a');
    await expect(write('a')).rejects.toThrow(/UNIQUE/);
  });
});
