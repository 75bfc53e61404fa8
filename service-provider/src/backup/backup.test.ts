import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

import { Bcp } from '@duoveil/common/bcp';
import { systemClock } from '@duoveil/common/runtime';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { DATABASES, type Databases } from '../../../harness/test/support/databases.js';
import { engine, LEASE_MS, leaseOf, PATIENT, STORE_KEY } from '../fixture.js';
import { testParameters, testPatient } from '../fixture.js';
import { openDatabase, openStore } from '../store/index.js';
import { LAYOUT } from '../store/migrations.js';
import type { Store, StoreLocation } from '../store/index.js';
import { backUp } from './backup.js';
import { restore } from './restore.js';

const parameters = await testParameters();
const { patient, encrypt } = await testPatient(new Bcp(parameters, engine));
const ciphertexts = await encrypt([1n, 2n]);
const now = new Date('2026-01-02T03:04:05.678Z');

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-backup-'));
  file = join(directory, 'sp.backup');
});
afterEach(() => rm(directory, { recursive: true }));

const open = (location: StoreLocation): Promise<Store> =>
  openStore({ location, parameters, key: STORE_KEY, leaseMs: LEASE_MS });

/** Takes samples and decides on them: each before the next, or as many as come together. */
async function fill(store: Store, from: number, through: number, together = false): Promise<void> {
  const lease = await leaseOf(store);
  const one = async (sequence: number): Promise<void> => {
    await store.samples.append(lease, { sequence, ciphertexts }, Buffer.alloc(32, sequence), now);
    const outcome = { kind: 'learning' } as const;
    await store.decisions.insert(lease, { sequence, outcome }, sequence % 2 === 0, now);
  };
  const numbers = Array.from({ length: through - from + 1 }, (_, i) => from + i);
  if (together) await Promise.all(numbers.map(one));
  else for (const sequence of numbers) await one(sequence);
}

const MODEL = { number: 1, throughSequence: 4, content: new Uint8Array([0, 255, 7]), trainMs: 3 };

describe.each(DATABASES)('a backup of a store on $name', ({ available, start }) => {
  let databases: Databases;
  beforeAll(async () => {
    if (available) databases = await start();
  });
  afterAll(() => (available ? databases.stop() : undefined));

  it.skipIf(!available)(
    'is of one moment while the store is written, and is all there',
    async () => {
      const location = await databases.create();
      const store = await open(location);
      await store.patients.keep(patient, now);
      await fill(store, 1, 300, true);
      await store.models.insert(await leaseOf(store), MODEL, 1, now);
      await store.books.write(await leaseOf(store), (book) => ({ ...book, next: 77 }));
      const writing = fill(store, 301, 360);
      const counts = await backUp(location, file, systemClock);
      await writing;
      expect(await store.decisions.last(PATIENT)).toBe(360);
      await store.close();
      expect((await stat(file)).mode & 0o777).toBe(0o600);

      const elsewhere = await databases.create();
      expect(await restore(file, elsewhere, parameters.digest)).toEqual(counts);
      const restored = await open(elsewhere);
      const last = await restored.samples.last(PATIENT);
      // A decision is never there without its sample, nor two samples ahead of the decisions.
      expect(last - (await restored.decisions.last(PATIENT))).toBeLessThanOrEqual(1);
      expect(last).toBeGreaterThanOrEqual(300);
      expect(await restored.patients.find(PATIENT)).toMatchObject({ schema: patient.schema });
      expect(await restored.models.latest(PATIENT)).toEqual(MODEL);
      expect(await restored.samples.find(PATIENT, 1)).toBeUndefined();
      expect(await restored.samples.find(PATIENT, 2)).toMatchObject({ sequence: 2, ciphertexts });
      expect(await restored.samples.digest(PATIENT, 3)).toEqual(new Uint8Array(32).fill(3));
      expect(await restored.decisions.list(PATIENT, 1, 9999)).toHaveLength(
        await restored.decisions.last(PATIENT),
      );
      expect((await restored.books.read(PATIENT)).book.next).toBe(77);
      // No process of before has the patient.
      expect(await leaseOf(restored)).toMatchObject({ epoch: 1 });
      await restored.close();
      await expect(restore(file, elsewhere)).rejects.toMatchObject({
        code: 'OPTION_INVALID',
        message: expect.stringContaining('not empty') as string,
      });
    },
  );
});

describe('a backup', () => {
  let target: StoreLocation;
  beforeEach(async () => {
    const location = { kind: 'file', file: join(directory, 'store.db') } as const;
    target = { kind: 'file', file: join(directory, 'restored.db') };
    const store = await open(location);
    await store.patients.keep(patient, now);
    await fill(store, 1, 10);
    await backUp(location, file, systemClock);
    await expect(backUp(location, file, systemClock)).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    });
    await store.close();
  });

  const refused = async (message: string, code = 'INPUT_INVALID', digest?: string) => {
    await expect(restore(file, target, digest)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message) as string,
    });
    await expect(stat(join(directory, 'restored.db'))).rejects.toMatchObject({ code: 'ENOENT' });
  };

  const edit = async (change: (text: string) => string): Promise<void> => {
    const text = gunzipSync(await readFile(file)).toString('utf8');
    const changed = change(text);
    expect(changed).not.toBe(text);
    await writeFile(file, gzipSync(changed));
  };

  it('is refused where it is torn, at whatever place', async () => {
    const whole = await readFile(file);
    for (const length of [0, 10, Math.floor(whole.length / 2), whole.length - 1]) {
      await writeFile(file, whole.subarray(0, length));
      await refused('torn');
    }
  });

  it.each<[what: string, change: (text: string) => string, message: string]>([
    ['a line is missing', (text) => text.replace(/\["samples".*\n/, ''), 'checksum'],
    ['a value is another', (text) => text.replace('2026-01-02T', '2026-01-03T'), 'checksum'],
    ['its end is missing', (text) => text.replace(/\{"rows".*\n$/, ''), 'damaged end'],
    ['its last line is torn', (text) => text.slice(0, -1), 'torn'],
    ['its version is another', (text) => text.replace('"version":1', '"version":2'), 'form 2'],
    ['its layout is another', (text) => text.replace(LAYOUT, '0000-x'), 'layout 0000-x'],
    ['it is something else', () => 'hello\nworld\n', 'not JSON'],
    ['a row is of no table', (text) => text.replace('["samples"', '["leases"'), 'no table'],
    ['a value has another kind', (text) => text.replace('["patients","', '["patients",1,"'), 'row'],
  ])('is refused where %s', async (_, change, message) => {
    await edit(change);
    await refused(message);
  });

  it('is refused where it is no compressed file, is not there, or is under other parameters', async () => {
    await refused('under the parameters', 'PARAMETERS_MISMATCH', '00'.repeat(32));
    await writeFile(file, 'not compressed at all');
    await refused('no backup');
    await rm(file);
    await refused('ENOENT', 'STORAGE_FAILED');
  });

  it('is not made of a store that is not there, or has another layout', async () => {
    const nowhere = { kind: 'file', file: join(directory, 'nowhere.db') } as const;
    const out = join(directory, 'second.backup');
    await expect(backUp(nowhere, out, systemClock)).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('ENOENT') as string,
    });
    const location = { kind: 'file', file: join(directory, 'store.db') } as const;
    const database = await openDatabase(location);
    await sql`delete from kysely_migration where name <> ${LAYOUT}`.execute(database.db);
    await sql`update kysely_migration set name = '0000-old'`.execute(database.db);
    await expect(backUp(location, out, systemClock)).rejects.toMatchObject({
      message: expect.stringContaining('layout 0000-old') as string,
    });
    await database.close();
  });
});
