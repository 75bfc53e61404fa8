/** Two processes on one database, and who watches a patient. */
import { Bcp } from '@duoveil/common/bcp';
import { systemRandom } from '@duoveil/common/random';
import { silentLogger, systemClock, systemSleep } from '@duoveil/common/runtime';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { alarmPolicy } from '../alarms/policy.js';
import { databasePerTest, DATABASES } from '../../../harness/test/support/databases.js';
import { engine, LEASE_MS, PATIENT, STORE_KEY, testParameters, testPatient } from '../fixture.js';
import { StoreSeal } from '../store/seal.js';
import { storeOver, type Store } from '../store/store.js';
import { Monitors } from './monitors.js';

const parameters = await testParameters();
const { patient } = await testPatient(new Bcp(parameters, engine));
const seal = new StoreSeal(STORE_KEY, systemRandom);
const now = new Date('2026-01-02T03:04:05.678Z');
const never = new AbortController().signal;
const notHere = () => Promise.reject(new Error('not here'));

for (const { name, available, start } of DATABASES) {
  describe.skipIf(!available)(`monitors on ${name}`, () => {
    const database = databasePerTest(start);
    let ends: (() => Promise<void>)[];
    beforeEach(() => {
      ends = [];
    });
    afterEach(async () => {
      for (const end of ends) await end();
    });

    /** A process that only learns: its window does not fill. */
    async function replica(leaseMs = LEASE_MS) {
      const store = await storeOver(database(), parameters, seal, leaseMs);
      await store.patients.keep(patient, now);
      const stop = new AbortController();
      const monitors = new Monitors({
        store,
        alarms: alarmPolicy(),
        suiteOf: () => ({ ciphertextsPerSample: 2, train: notHere, score: notHere, sums: notHere }),
        clock: systemClock,
        // A lease that no test runs out of, and no waiting for its renewal.
        sleep: (ms, signal) => systemSleep(Math.min(ms, 50), signal),
        logger: silentLogger(),
        leaseMs,
        stop: stop.signal,
      });
      const end = async (): Promise<void> => {
        stop.abort();
        await monitors.stopped();
      };
      ends.push(end);
      return { store, monitors, end };
    }

    async function take(
      store: Store,
      owned: Awaited<ReturnType<Monitors['own']>>,
      sequence: number,
    ): Promise<void> {
      const sample = { sequence, ciphertexts: [] };
      await store.samples.append(owned.lease, sample, Buffer.alloc(32), now);
      owned.watched.arrivals.ring();
    }

    const decided = ({ decisions }: Store, through: number): Promise<unknown> =>
      vi.waitUntil(async () => (await decisions.last(PATIENT)) >= through);

    it('take a patient whom nobody has, and give them back at the end', async () => {
      const { store, monitors, end } = await replica();
      await monitors.start();
      expect(await store.leases.free(10)).toEqual([]);
      await take(store, await monitors.own(PATIENT, never), 1);
      await decided(store, 1);
      await end();
      expect(await store.leases.free(10)).toEqual([PATIENT]);
    });

    it('hand a patient over to who has the stream, and back', async () => {
      const [first, second] = [await replica(), await replica()];
      await first.monitors.start();
      await second.monitors.start();
      const before = await first.monitors.own(PATIENT, never);
      await take(first.store, before, 1);
      await decided(first.store, 1);
      const after = await second.monitors.own(PATIENT, never);
      expect(after.lease.epoch).toBeGreaterThan(before.lease.epoch);
      await take(second.store, after, 2);
      await decided(second.store, 2);
      await expect(take(first.store, before, 3)).rejects.toMatchObject({
        code: 'PATIENT_ELSEWHERE',
      });
      await take(first.store, await first.monitors.own(PATIENT, never), 3);
      await decided(first.store, 3);
      expect(await first.store.decisions.list(PATIENT, 1, 10)).toHaveLength(3);
    });

    it('take over from a process that is gone, also without a stream', async () => {
      const first = await replica(0);
      const lease = await first.store.leases.acquire(PATIENT, false);
      if (lease === undefined) throw new Error('somebody has the patient');
      await first.store.samples.append(
        lease,
        { sequence: 1, ciphertexts: [] },
        Buffer.alloc(32),
        now,
      );
      // Nobody renews the lease: its process might as well be gone.
      const second = await replica();
      await second.monitors.start();
      await decided(second.store, 1);
    });
  });
}
