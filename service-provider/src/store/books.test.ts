/** Books of alarms in the store: nobody's change gets lost, and the database does not tell them. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Bcp } from '@duoveil/common/bcp';
import { systemRandom } from '@duoveil/common/random';
import { describe, expect, it } from 'vitest';

import { databasePerTest, DATABASES } from '../../../harness/test/support/databases.js';
import { alarmId, acknowledged, EMPTY_BOOK, raised, type AlarmBook } from '../alarms/book.js';
import { engine, LEASE_MS, leaseOf, PATIENT, STORE_KEY } from '../fixture.js';
import { testParameters, testPatient } from '../fixture.js';
import { StoreSeal, type Seal } from './seal.js';
import { openSqlite } from './sqlite.js';
import { storeOver } from './store.js';

const parameters = await testParameters();
const { patient } = await testPatient(new Bcp(parameters, engine));
const seal = new StoreSeal(STORE_KEY, systemRandom);
const now = new Date('2026-01-02T03:04:05.678Z');
const more = (book: AlarmBook): AlarmBook => ({ ...book, next: book.next + 1 });

for (const { name, available, start } of DATABASES) {
  describe.skipIf(!available)(`books on ${name}`, () => {
    const database = databasePerTest(start);

    it("lose nobody's change, whoever else changes them at the same time", async () => {
      const stores = await Promise.all(
        [1, 2].map(() => storeOver(database(), parameters, seal, LEASE_MS)),
      );
      const [one] = stores;
      if (one === undefined) throw new Error('no store');
      await one.patients.keep(patient, now);
      const lease = await leaseOf(one);
      await one.books.begin(lease);
      await one.books.write(lease, more);
      await one.books.begin(lease);
      await Promise.all(
        Array.from({ length: 30 }, (_, i) => [
          ...stores.map((store) => store.books.change(new Map([[PATIENT, more]]))),
          one.books.write(lease, more),
          one.samples.append(lease, { sequence: i + 1, ciphertexts: [] }, Buffer.alloc(32), now),
          one.decisions.insert(
            lease,
            { sequence: i + 1, outcome: { kind: 'learning' } },
            true,
            now,
            more,
          ),
        ]).flat(),
      );
      expect((await one.books.read(PATIENT)).book.next).toBe(2 + 4 * 30);
    });

    it('are newer the higher their order', async () => {
      const store = await storeOver(database(), parameters, seal, LEASE_MS);
      await store.patients.keep(patient, now);
      const [changed] = await store.books.change(new Map([[PATIENT, more]]));
      const read = await store.books.read(PATIENT);
      expect(read.order).toBeGreaterThan(changed?.order ?? Infinity);
      expect(changed?.before).toEqual(EMPTY_BOOK);
    });

    it('are changed all or none, and by nobody who has lost the patient', async () => {
      const store = await storeOver(database(), parameters, seal, LEASE_MS);
      await store.patients.keep(patient, now);
      const late = await leaseOf(store);
      await leaseOf(store);
      await expect(store.books.write(late, more)).rejects.toMatchObject({
        code: 'PATIENT_ELSEWHERE',
      });
      const failing = (): AlarmBook => {
        throw new Error('no');
      };
      const other = { ...patient, id: `${PATIENT}-z` as typeof PATIENT };
      await store.patients.keep(other, now);
      const both = new Map([
        [PATIENT, more],
        [other.id, failing],
      ]);
      await expect(store.books.change(both)).rejects.toThrow();
      expect((await store.books.read(PATIENT)).book).toEqual(EMPTY_BOOK);
    });
  });
}

describe('a thief of the database', () => {
  const full = Array.from({ length: 100 }).reduce<AlarmBook>(
    (book, _, i) =>
      raised(book, {
        patient: PATIENT,
        cause: { kind: 'silence', since: now },
        sequence: i,
        at: now,
      }),
    EMPTY_BOOK,
  );
  const book = acknowledged(full, alarmId(PATIENT, 3), { by: 'alice.who.acts', at: now });

  async function stolen(with_: Seal, change: boolean): Promise<{ bytes: Buffer; sealed: number }> {
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-books-'));
    const database = await openSqlite(join(directory, 'store.db'));
    const store = await storeOver(database, parameters, with_, LEASE_MS);
    await store.patients.keep(patient, now);
    await store.books.begin(await leaseOf(store));
    if (change) await store.books.change(new Map([[PATIENT, () => book]]));
    const row = await database.db.selectFrom('alarm_books').selectAll().executeTakeFirstOrThrow();
    const files = await readdir(directory);
    const bytes = Buffer.concat(
      await Promise.all(files.map((one) => readFile(join(directory, one)))),
    );
    await store.close();
    await rm(directory, { recursive: true });
    return { bytes, sealed: row.sealed_book.byteLength };
  }
  const traces = (bytes: Buffer): string[] =>
    ['alice.who.acts', 'silence'].filter((word) => bytes.includes(word));

  it('finds no trace of an alarm, or of who acts, nor how many there are', async () => {
    const [calm, alarming] = [await stolen(seal, false), await stolen(seal, true)];
    expect(traces(alarming.bytes)).toEqual([]);
    expect(alarming.sealed).toBe(calm.sealed);
  });

  it('would find them where nothing was sealed', async () => {
    const broken: Seal = {
      close: (plaintext) => Buffer.from(plaintext),
      open: (sealed) => Buffer.from(sealed),
    };
    const { bytes } = await stolen(broken, true);
    expect(traces(bytes)).toEqual(['alice.who.acts', 'silence']);
  });
});
