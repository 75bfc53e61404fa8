/** What is special about a store on a PostgreSQL. */
import { Bcp } from '@duoveil/common/bcp';
import { systemRandom } from '@duoveil/common/random';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { Postgres } from '../../../harness/src/parties/postgres.js';
import { POSTGRES_AVAILABLE, POSTGRES_NAME } from '../../../harness/test/support/databases.js';
import { engine, LEASE_MS, leaseOf, PATIENT, STORE_KEY } from '../fixture.js';
import { testParameters, testPatient } from '../fixture.js';
import type { Database } from './database.js';
import { storing } from './failures.js';
import { GroupCommit } from './group-commit.js';
import { parsePostgresUrl } from './postgres-url.js';
import { openPostgres } from './postgres.js';
import { StoreSeal } from './seal.js';
import { storeOver, type Store } from './store.js';

const parameters = await testParameters();
const { patient } = await testPatient(new Bcp(parameters, engine));
const seal = new StoreSeal(STORE_KEY, systemRandom);
const now = new Date('2026-01-02T03:04:05.678Z');
const unavailable = { code: 'STORAGE_UNAVAILABLE' };

describe.skipIf(!POSTGRES_AVAILABLE)(`a store on ${POSTGRES_NAME}`, () => {
  let postgres: Postgres;
  let url: string;
  let database: Database;
  let store: Store;
  beforeAll(async () => {
    postgres = await Postgres.start();
  });
  afterAll(() => postgres.stop());
  beforeEach(async () => {
    url = await postgres.createDatabase();
    database = await openPostgres(parsePostgresUrl(url));
    store = await storeOver(database, parameters, seal, LEASE_MS);
    await store.patients.keep(patient, now);
  });
  afterEach(() => store.close());

  const append = async (sequence: number): Promise<void> => {
    const sample = { sequence, ciphertexts: [] };
    await store.samples.append(await leaseOf(store), sample, Buffer.alloc(32), now);
  };

  it('writes what two transactions have that waited for each other', async () => {
    let arrived = 0;
    let go = (): void => undefined;
    const both = new Promise<void>((resolve) => {
      go = resolve;
    });
    const lock = (key: number) => async (transaction: Database['db']) => {
      await sql`select pg_advisory_xact_lock(${sql.lit(key)})`.execute(transaction);
      arrived += 1;
      if (arrived === 2) go();
      await both;
    };
    const [one, other] = [new GroupCommit(database.db), new GroupCommit(database.db)];
    await Promise.all([
      ...[one.write(lock(1)), one.write(lock(2))],
      ...[other.write(lock(2)), other.write(lock(1))],
    ]);
    // All four, and of one group again what was rolled back.
    expect(arrived).toBeGreaterThan(4);
  });

  it('goes on after a connection was cut in the middle of a transaction', async () => {
    const commits = new GroupCommit(database.db);
    const cut = commits.write(async (transaction) => {
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(
        transaction,
      );
      const pid = String(rows[0]?.pid);
      await postgres.query(`select pg_terminate_backend(${pid})`);
      // Nothing is asked while it is cut: whoever has the connection hears of it by and by.
      await vi.waitUntil(async () => {
        const left = await postgres.query(`select 1 from pg_stat_activity where pid = ${pid}`);
        return left.length === 0;
      });
      await sql`select 1`.execute(transaction);
    });
    await expect(cut).rejects.toMatchObject(unavailable);
    await append(1);
    expect(await store.samples.last(PATIENT)).toBe(1);
  });

  it('says that it is away for the moment, and goes on when it is back', async () => {
    await append(1);
    await store.ask();
    await postgres.halt();
    await expect(store.ask()).rejects.toMatchObject(unavailable);
    await expect(append(2)).rejects.toMatchObject(unavailable);
    await expect(store.samples.last(PATIENT)).rejects.toMatchObject(unavailable);
    await expect(openPostgres(parsePostgresUrl(url))).rejects.toMatchObject(unavailable);
    await postgres.resume();
    await store.ask();
    await append(2);
    expect(await store.samples.last(PATIENT)).toBe(2);
  });

  it('tells other processes of decisions, also after its connection was cut', async () => {
    const other = await openPostgres(parsePostgresUrl(url));
    const heard: (string | undefined)[] = [];
    other.listen((one) => heard.push(one));
    // Once it listens: whatever was told before was missed.
    await vi.waitUntil(() => heard.length > 0);
    expect(heard).toEqual([undefined]);
    await append(1);
    const decide = async (sequence: number): Promise<void> => {
      const decision = { sequence, outcome: { kind: 'learning' } } as const;
      await store.decisions.insert(await leaseOf(store), decision, true, now);
    };
    await decide(1);
    await vi.waitUntil(() => heard.length > 1);
    expect(heard).toEqual([undefined, PATIENT]);
    await postgres.cut();
    await vi.waitUntil(() => heard.length > 2, { timeout: 10_000 });
    expect(heard).toEqual([undefined, PATIENT, undefined]);
    await other.close();
  });

  it('does not let a transaction stand idle', async () => {
    const [row] = await storing(async () => {
      const { rows } = await sql<Record<string, string>>`
        select current_setting('statement_timeout') as statement,
          current_setting('idle_in_transaction_session_timeout') as idle
      `.execute(database.db);
      return rows;
    });
    expect(row).toEqual({ statement: '10s', idle: '1500ms' });
  });

  it('says who is not let in', async () => {
    const address = parsePostgresUrl(url);
    for (const [fields, hint] of [
      [{ database: 'nowhere' }, 'there is no database of this name'],
      [{ user: 'nobody-here' }, 'does not accept this user'],
    ] as const) {
      await expect(openPostgres({ ...address, ...fields })).rejects.toMatchObject({
        code: 'STORAGE_FAILED',
        message: expect.stringContaining(hint) as string,
      });
    }
  });
});
