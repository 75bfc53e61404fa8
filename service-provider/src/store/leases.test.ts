/** Who may write for a patient: one replica at a time, and none that is late. */
import { Bcp } from '@duoveil/common/bcp';
import { systemRandom } from '@duoveil/common/random';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import {
  databasePerTest,
  DATABASES,
  type Databases,
} from '../../../harness/test/support/databases.js';
import { engine, Gate, LEASE_MS, leaseOf, PATIENT, STORE_KEY } from '../fixture.js';
import { testParameters, testPatient } from '../fixture.js';
import type { Database } from './database.js';
import { GroupCommit } from './group-commit.js';
import { FencedWrites, type Lease } from './leases.js';
import { openPostgres } from './postgres.js';
import { StoreSeal } from './seal.js';
import { storeOver, type Store } from './store.js';

const parameters = await testParameters();
const { patient } = await testPatient(new Bcp(parameters, engine));
const seal = new StoreSeal(STORE_KEY, systemRandom);
const now = new Date('2026-01-02T03:04:05.678Z');
const elsewhere = { code: 'PATIENT_ELSEWHERE' };

const append = ({ samples }: Store, lease: Lease, sequence: number): Promise<void> =>
  samples.append(lease, { sequence, ciphertexts: [] }, Buffer.alloc(32), now);

for (const { name, available, start } of DATABASES) {
  describe.skipIf(!available)(`leases on ${name}`, () => {
    const database = databasePerTest(start);

    /** Two processes on the database; a lease of the first one lasts so long. */
    async function replicas(leaseMs: number): Promise<readonly [Store, Store]> {
      const first = await storeOver(database(), parameters, seal, leaseMs);
      const second = await storeOver(database(), parameters, seal, LEASE_MS);
      await first.patients.keep(patient, now);
      return [first, second];
    }

    it('are for one at a time, and renewed', async () => {
      const [first, second] = await replicas(LEASE_MS);
      expect(await first.leases.free(10)).toEqual([PATIENT]);
      const lease = await leaseOf(first);
      expect(await second.leases.acquire(PATIENT, false)).toBeUndefined();
      expect(await second.leases.free(10)).toEqual([]);
      expect(await first.leases.renew()).toEqual([lease]);
      expect(await second.leases.renew()).toEqual([]);
      await append(first, lease, 1);
    });

    it('are handed over to who claims them, and renewed no more', async () => {
      const [first, second] = await replicas(LEASE_MS);
      const lease = await leaseOf(first);
      expect(await second.leases.acquire(PATIENT, true)).toBeUndefined();
      expect(await first.leases.renew()).toEqual([]);
      await first.leases.release(lease);
      // It is the claimant's, before that one has asked again.
      expect(await first.leases.acquire(PATIENT, false)).toBeUndefined();
      expect(await second.leases.renew()).toMatchObject([{ patient: PATIENT, epoch: 2 }]);
      await append(second, await leaseOf(second), 1);
    });

    it('are free once they are given back or have expired', async () => {
      const [first, second] = await replicas(LEASE_MS);
      await first.leases.release(await leaseOf(first));
      const lease = await leaseOf(second);
      expect(lease.epoch).toBe(3);
      await second.leases.release(lease);
      const [brief, other] = await replicas(0);
      const expired = await leaseOf(brief);
      expect(await other.leases.free(10)).toEqual([PATIENT]);
      expect((await leaseOf(other)).epoch).toBe(expired.epoch + 1);
      // Too late: this gives nothing back.
      await brief.leases.release(expired);
      expect(await brief.leases.free(10)).toEqual([]);
    });

    it('refuse whatever an owner of before writes, and keep nothing of it', async () => {
      const [first, second] = await replicas(0);
      const late = await leaseOf(first);
      await append(first, late, 1);
      const lease = await leaseOf(second);
      await expect(append(first, late, 2)).rejects.toMatchObject(elsewhere);
      const decision = { sequence: 1, outcome: { kind: 'learning' } } as const;
      await expect(first.decisions.insert(late, decision, true, now)).rejects.toMatchObject(
        elsewhere,
      );
      const model = { number: 1, throughSequence: 1, content: new Uint8Array(9), trainMs: 1 };
      await expect(first.models.insert(late, model, 1, now)).rejects.toMatchObject(elsewhere);
      expect(await second.samples.last(PATIENT)).toBe(1);
      expect(await second.decisions.last(PATIENT)).toBe(0);
      expect(await second.models.latest(PATIENT)).toBeUndefined();
      await append(second, lease, 2);
    });

    it('of one process replace each other', async () => {
      const [first] = await replicas(LEASE_MS);
      const [old, renewed] = [await leaseOf(first), await leaseOf(first)];
      await expect(append(first, old, 1)).rejects.toMatchObject(elsewhere);
      await append(first, renewed, 1);
    });

    it('do not cost others who write at the same time', async () => {
      const [first, second] = await replicas(0);
      const late = await leaseOf(first);
      const lease = await leaseOf(second);
      const outcomes = await Promise.allSettled([
        append(second, late, 1),
        append(second, lease, 1),
      ]);
      expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    });
  });
}

const [, postgres] = DATABASES;

describe.skipIf(postgres?.available !== true)('a takeover on PostgreSQL', () => {
  let databases: Databases;
  let owner: Database;
  let successor: Database;
  beforeAll(async () => {
    if (postgres !== undefined) databases = await postgres.start();
  });
  afterAll(() => databases.stop());
  beforeEach(async () => {
    const location = await databases.create();
    if (location.kind === 'file') throw new Error('not here');
    owner = await openPostgres(location.address);
    successor = await openPostgres(location.address);
  });
  afterEach(async () => {
    await owner.close();
    await successor.close();
  });

  /** An owner whose lease has run out is about to commit a write; another one takes over. */
  async function takeover(fencing: Database) {
    const store = await storeOver(owner, parameters, seal, 0);
    await store.patients.keep(patient, now);
    const lease = await leaseOf(store);
    const gate = new Gate();
    const writes = new FencedWrites(fencing, new GroupCommit(owner.db));
    const writing = writes.write(lease, () => gate.wait(), { news: false });
    await gate.reached;
    const state = { taken: false };
    const next = await storeOver(successor, parameters, seal, LEASE_MS);
    const taking = leaseOf(next).then(() => {
      state.taken = true;
    });
    await vi.waitUntil(async () => state.taken || (await isSomebodyWaiting()));
    const takenBeforeCommit = state.taken;
    gate.open();
    await Promise.all([writing, taking]);
    return { takenBeforeCommit };
  }

  async function isSomebodyWaiting(): Promise<boolean> {
    const { rows } = await sql`
      select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()
    `.execute(successor.db);
    return rows.length > 0;
  }

  it('waits for a write that was checked before', async () => {
    expect(await takeover(owner)).toEqual({ takenBeforeCommit: false });
  });

  it('would not, were the lease looked at and not held', async () => {
    expect(await takeover({ ...owner, shared: false })).toEqual({ takenBeforeCommit: true });
  });
});
