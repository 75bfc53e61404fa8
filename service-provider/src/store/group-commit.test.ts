import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Connection } from './database.js';
import { GroupCommit } from './group-commit.js';
import { openSqlite } from './sqlite.js';

describe('commits in groups', () => {
  let directory: string;
  let db: Connection;
  let commits: GroupCommit;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'duoveil-commits-'));
    ({ db } = await openSqlite(join(directory, 'store.db')));
    commits = new GroupCommit(db);
  });

  afterEach(async () => {
    await db.destroy();
    await rm(directory, { recursive: true, force: true });
  });

  const check = (id: number) => ({ id, sealed_check: Buffer.alloc(1) });

  const write = (...ids: number[]): Promise<void> =>
    commits.write(async (transaction) => {
      for (const id of ids) await transaction.insertInto('store_key').values(check(id)).execute();
    });

  const written = async (): Promise<number[]> => {
    const rows = await db.selectFrom('store_key').select('id').orderBy('id').execute();
    return rows.map(({ id }) => id);
  };

  test('what comes together is written, all of it', async () => {
    await Promise.all([write(1), write(2), write(3, 4)]);
    expect(await written()).toEqual([1, 2, 3, 4]);
  });

  test('what comes while others are committed is written next', async () => {
    const first = write(1);
    await new Promise(setImmediate);
    await Promise.all([first, write(2)]);
    expect(await written()).toEqual([1, 2]);
  });

  test('what fails leaves nothing behind and takes nobody along', async () => {
    const outcomes = await Promise.allSettled([write(1), write(2, 1), write(3)]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await written()).toEqual([1, 3]);
    await write(4);
    expect(await written()).toEqual([1, 3, 4]);
  });

  test('one that fails alone is refused with its own reason', async () => {
    await write(1);
    await expect(write(1)).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
  });
});
