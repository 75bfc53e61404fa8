/** What is special about a store in a file. */
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Bcp, ciphertextOf } from '@duoveil/common/bcp';
import type { Ciphertext } from '@duoveil/common/bcp';
import { systemRandom } from '@duoveil/common/random';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { collectGarbage, engine, LEASE_MS, leaseOf, PATIENT, STORE_KEY } from '../fixture.js';
import { testParameters, testPatient } from '../fixture.js';
import type { Database } from './database.js';
import type { Decision } from './decisions.js';
import type { Lease } from './leases.js';
import { StoreSeal } from './seal.js';
import { openSqlite } from './sqlite.js';
import { storeOver, type Store } from './store.js';

const parameters = await testParameters();
const { patient } = await testPatient(new Bcp(parameters, engine));
const seal = new StoreSeal(STORE_KEY, systemRandom);
const now = new Date('2026-01-02T03:04:05.678Z');
const ciphertext = (n: number): Ciphertext => ciphertextOf(BigInt(n), BigInt(1000 + n));
const digest = (sequence: number): Buffer => Buffer.alloc(32, sequence);
const learning = (sequence: number): Decision => ({ sequence, outcome: { kind: 'learning' } });

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-sqlite-'));
  file = join(directory, 'store.db');
});
afterEach(() => rm(directory, { recursive: true }));

describe('a store in a file', () => {
  it('is one process at a time', async () => {
    const database = await openSqlite(file);
    await expect(openSqlite(file)).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('is another service provider running') as string,
    });
    await database.close();
    // The driver gives the lock back when its statements are forgotten: a process ends instead.
    const again = await vi.waitFor(() => {
      collectGarbage();
      return openSqlite(file);
    });
    await again.close();
  });

  it('is for its owner only, with all that is beside it', async () => {
    const database = await openSqlite(file);
    const names = await readdir(directory);
    expect(names).toContain('store.db-wal');
    for (const name of names) {
      expect((await stat(join(directory, name))).mode & 0o777, name).toBe(0o600);
    }
    await database.close();
  });

  it('says what to look at where its file is none', async () => {
    await expect(openSqlite(join(directory, 'a', 'b'))).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('is its directory there') as string,
    });
    await writeFile(file, 'no database, but long enough to be looked at. '.repeat(100));
    await expect(openSqlite(file)).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: 'the store failed: its file is no database',
    });
  });

  it('says that it is damaged where a ciphertext has the wrong length', async () => {
    const database = await openSqlite(file);
    const store = await storeOver(database, parameters, seal, LEASE_MS);
    await store.patients.keep(patient, now);
    const sample = { sequence: 1, ciphertexts: [ciphertext(1)] };
    await store.samples.append(await leaseOf(store), sample, digest(1), now);
    await sql`UPDATE samples SET ciphertexts = x'00ff'`.execute(database.db);
    await expect(store.samples.find(PATIENT, 1)).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
    await store.close();
  });

  it('has no leases of a process that is gone', async () => {
    const first = await openSqlite(file);
    const store = await storeOver(first, parameters, seal, LEASE_MS);
    await store.patients.keep(patient, now);
    const lease = await leaseOf(store);
    // Another process: the file would be locked for one that runs.
    const next = await storeOver(first, parameters, seal, LEASE_MS);
    expect(await next.leases.free(10)).toEqual([PATIENT]);
    expect(await leaseOf(next)).toMatchObject({ epoch: lease.epoch + 1 });
    await first.close();
  });
});

describe('a store without room', () => {
  let database: Database;
  let store: Store;
  let lease: Lease;
  beforeEach(async () => {
    database = await openSqlite(file);
    store = await storeOver(database, parameters, seal, LEASE_MS);
    await store.patients.keep(patient, now);
    lease = await leaseOf(store);
  });
  afterEach(() => store.close());

  /** Lets the file grow no further, or by as much as it likes. */
  async function limit(on: boolean): Promise<void> {
    // The limit is never set below the pages that there are.
    await sql`PRAGMA max_page_count = ${sql.raw(on ? '1' : '1000000')}`.execute(database.db);
  }

  it('says so, whatever is written, keeps what it has, and goes on when there is room', async () => {
    const { samples, decisions, models } = store;
    let last = 0;
    const append = async (ciphertexts: Ciphertext[]): Promise<void> => {
      const next = { sequence: last + 1, ciphertexts };
      await samples.append(lease, next, digest(1), now);
      last += 1;
    };
    for (let i = 0; i < 200; i += 1) await append([]);
    await limit(true);
    const full = { code: 'STORAGE_FULL' };
    const fill = async (): Promise<never> => {
      for (;;) await append([ciphertext(1)]);
    };
    await expect(fill()).rejects.toMatchObject(full);
    expect(await samples.last(PATIENT)).toBe(last);
    const content = new Uint8Array(20_000).fill(7);
    const model = { number: 1, throughSequence: last, content, trainMs: 1 };
    await expect(models.insert(lease, model, 1, now)).rejects.toMatchObject(full);
    const decide = async (): Promise<void> => {
      for (let sequence = 1; sequence <= last; sequence += 1) {
        await decisions.insert(lease, learning(sequence), true, now);
      }
    };
    await expect(decide()).rejects.toMatchObject(full);
    expect(await models.latest(PATIENT)).toBeUndefined();
    const decided = await decisions.last(PATIENT);
    expect(decided).toBeLessThan(last);

    await limit(false);
    await append([ciphertext(1)]);
    await models.insert(lease, model, 1, now);
    await decisions.insert(lease, learning(decided + 1), true, now);
    expect(await samples.last(PATIENT)).toBe(last);
    expect(await decisions.last(PATIENT)).toBe(decided + 1);
    expect((await models.latest(PATIENT))?.content).toEqual(content);
  });
});
