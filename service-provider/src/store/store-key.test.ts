import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { systemRandom } from '@duoveil/common/random';
import { Secret } from '@duoveil/common/secret';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { STORE_KEY } from '../fixture.js';
import { StoreSeal } from './seal.js';
import { openSqlite } from './sqlite.js';
import { bindStoreKey } from './store-key-check.js';
import { keepStoreKey, parseStoreKey, storeKeyFile } from './store-key.js';

let directory: string;
let database: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-store-key-'));
  database = join(directory, 'store.db');
});
afterEach(() => rm(directory, { recursive: true }));

describe('the key of a store that was given none', () => {
  it('is drawn once, for its owner only, and kept beside the database', async () => {
    const key = await keepStoreKey(database);
    const file = storeKeyFile(database);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).toBe(`${Buffer.from(key.reveal()).toString('hex')}\n`);
    await writeFile(database, '');
    expect((await keepStoreKey(database)).reveal()).toEqual(key.reveal());
    const other = await keepStoreKey(join(directory, 'other.db'));
    expect(other.reveal()).not.toEqual(key.reveal());
  });

  it('is not replaced where it was lost', async () => {
    await writeFile(database, '');
    await expect(keepStoreKey(database)).rejects.toMatchObject({
      code: 'UNSEALING_FAILED',
      message: expect.stringContaining(storeKeyFile(database)) as string,
    });
    await expect(stat(storeKeyFile(database))).rejects.toThrow('ENOENT');
  });

  it('is refused where the file holds something else', async () => {
    await writeFile(storeKeyFile(database), 'no key, and nothing to show');
    const refusal = await keepStoreKey(database).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(String(refusal)).not.toContain('no key');
  });
});

describe('a store key', () => {
  it('is 64 hexadecimal digits', () => {
    const digits = '0123456789abcdefABCDEF'.padEnd(64, '7');
    const key = parseStoreKey(new Secret(` ${digits}\n`), 'storeKey');
    expect(Buffer.from(key.reveal()).toString('hex')).toBe(digits.toLowerCase());
    for (const wrong of ['', digits.slice(1), `${digits}0`, `g${digits.slice(1)}`]) {
      expect(() => parseStoreKey(new Secret(wrong), 'storeKey')).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error,
      );
    }
  });

  it('opens the database that it was first used with, and no other', async () => {
    const opened = await openSqlite(database);
    const { db } = opened;
    const seal = new StoreSeal(STORE_KEY, systemRandom);
    await bindStoreKey(db, seal);
    await bindStoreKey(db, seal);
    const wrong = new StoreSeal(new Secret(new Uint8Array(32)), systemRandom);
    await expect(bindStoreKey(db, wrong)).rejects.toMatchObject({
      code: 'UNSEALING_FAILED',
      message: 'the store key is not that of this database: give the one that it was made with',
    });
    await bindStoreKey(db, seal);
    await opened.close();
  });
});
