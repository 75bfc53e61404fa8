import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Secret } from '@duoveil/common/secret';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { spSettings, storeSettings, type SpSettings } from './config.js';

const digits = 'ab'.repeat(32);
const url = 'postgres://sp@db.example/ward';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-config-'));
});
afterEach(() => rm(directory, { recursive: true }));

function settings(fields: Partial<SpSettings>): SpSettings {
  return spSettings.parse({ csp: 'a:1', parametersDigest: 'd', tls: 't', ...fields });
}

describe('where the store is', () => {
  it('is a file, with a key of its own unless one is given', async () => {
    const database = join(directory, 'store.db');
    const given = await storeSettings(settings({ database, storeKey: new Secret(digits) }));
    expect(given.location).toEqual({ kind: 'file', file: database });
    expect(Buffer.from(given.key.reveal()).toString('hex')).toBe(digits);
    expect(await readdir(directory)).toEqual([]);
    await storeSettings(settings({ database }));
    expect(await readdir(directory)).toEqual(['store.db.key']);
  });

  it('is a PostgreSQL, with a key that is given', async () => {
    const databasePassword = new Secret('for nobody to see');
    const storeKey = new Secret(digits);
    const { location } = await storeSettings(
      settings({ databaseUrl: url, databasePassword, storeKey }),
    );
    expect(location).toMatchObject({
      kind: 'postgres',
      address: { host: 'db.example', password: databasePassword },
    });
    await expect(storeSettings(settings({ databaseUrl: url }))).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('--store-key-file') as string,
    });
  });

  it('is one of the two', async () => {
    for (const fields of [{}, { database: join(directory, 'store.db'), databaseUrl: url }]) {
      await expect(storeSettings(settings(fields))).rejects.toMatchObject({
        code: 'OPTION_INVALID',
        details: { option: '--database' },
      });
    }
  });
});
