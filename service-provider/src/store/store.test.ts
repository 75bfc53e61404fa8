/** What holds for a store on any database. */
import { Bcp, ciphertextOf, publicParameters } from '@duoveil/common/bcp';
import type { Ciphertext } from '@duoveil/common/bcp';
import { Secret } from '@duoveil/common/secret';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { DATABASES, type Databases } from '../../../harness/test/support/databases.js';
import { engine, LEASE_MS, leaseOf, PATIENT, STORE_KEY } from '../fixture.js';
import { collectGarbage, testParameters, testPatient } from '../fixture.js';
import { openStore } from './index.js';
import type { Decision, Lease, Store, StoreLocation, StoreOptions } from './index.js';

const parameters = await testParameters();
const { patient } = await testPatient(new Bcp(parameters, engine));
const now = new Date('2026-01-02T03:04:05.678Z');

/** A ciphertext that tells its number; none is ever decrypted here. */
const ciphertext = (n: number): Ciphertext => ciphertextOf(BigInt(n), BigInt(1000 + n));
const sample = (sequence: number) => ({
  sequence,
  ciphertexts: [ciphertext(2 * sequence), ciphertext(2 * sequence + 1)],
});
const digest = (sequence: number): Buffer => Buffer.alloc(32, sequence);
const learning = (sequence: number): Decision => ({ sequence, outcome: { kind: 'learning' } });
const scored = (sequence: number, outlier: boolean): Decision => ({
  sequence,
  outcome: {
    kind: 'scored',
    outlier,
    statistic: { kind: 'distance', squaredDistance: 1 / 3 },
    model: 1,
    latencyMs: 2.5,
  },
});

const FIRST = { reason: 'first', by: undefined } as const;

for (const { name, available, start } of DATABASES) {
  describe.skipIf(!available)(`a store on ${name}`, () => {
    let databases: Databases;
    let location: StoreLocation;
    beforeAll(async () => {
      databases = await start();
    });
    afterAll(() => databases.stop());
    beforeEach(async () => {
      location = await databases.create();
    });

    const openWith = (options: Partial<StoreOptions> = {}): Promise<Store> =>
      openStore({ location, parameters, key: STORE_KEY, leaseMs: LEASE_MS, ...options });

    async function open(): Promise<{ readonly store: Store; readonly lease: Lease }> {
      const store = await openWith();
      await store.patients.keep(patient, now);
      return { store, lease: await leaseOf(store) };
    }

    /** SQLite's driver gives a file's lock back when its statements are forgotten: a process ends instead. */
    const reopened = (): Promise<Store> =>
      vi.waitFor(() => {
        collectGarbage();
        return openWith();
      });

    it('gives back what was put, also after it was opened again', async () => {
      const { store, lease } = await open();
      await store.samples.append(lease, sample(1), digest(1), now);
      const measuredAt = new Date('2026-01-02T03:04:04Z');
      await store.samples.append(lease, sample(2), digest(2), now, measuredAt);
      await store.decisions.insert(lease, learning(1), true, now);
      await store.decisions.insert(lease, scored(2, true), true, now);
      const model = {
        number: 1,
        throughSequence: 2,
        content: new Uint8Array([7, 8, 0, 255]),
        trainMs: 12.25,
      };
      await store.models.insert(lease, model, 1, now);
      await store.close();

      const again = await reopened();
      expect(await again.patients.find(PATIENT)).toEqual({
        ...patient,
        key: {
          publicKey: new Uint8Array(patient.key.publicKey),
          commitment: new Uint8Array(patient.key.commitment),
          response: new Uint8Array(patient.key.response),
        },
      });
      expect(await again.samples.last(PATIENT)).toBe(2);
      const received = { receivedAt: now, measuredAt: undefined };
      expect(await again.samples.find(PATIENT, 1)).toEqual({ ...sample(1), ...received });
      expect(await again.samples.times(PATIENT, 2)).toEqual({ receivedAt: now, measuredAt });
      expect(await again.samples.digest(PATIENT, 2)).toEqual(new Uint8Array(digest(2)));
      expect(await again.decisions.list(PATIENT, 1, 10)).toEqual([learning(1), scored(2, true)]);
      const timed = [
        { ...learning(1), at: now },
        { ...scored(2, true), at: measuredAt },
      ];
      expect(await again.decisions.timeline(PATIENT, 1, 10)).toEqual(timed);
      expect(await again.decisions.latest(PATIENT, 1)).toEqual(timed.slice(1));
      expect(await again.models.latest(PATIENT)).toEqual(model);
      expect(await again.models.records(PATIENT, 10)).toEqual([
        { number: 1, throughSequence: 2, trainMs: 12.25, trainedAt: now, ...FIRST },
      ]);
      await again.close();
    });

    it('takes a sample, a decision and a model once', async () => {
      const { store, lease } = await open();
      const failed = { code: 'STORAGE_FAILED' };
      const model = { number: 1, throughSequence: 1, content: new Uint8Array(9), trainMs: 1 };
      await store.samples.append(lease, sample(1), digest(1), now);
      await store.decisions.insert(lease, learning(1), true, now);
      await store.models.insert(lease, model, 1, now);
      await expect(store.samples.append(lease, sample(1), digest(9), now)).rejects.toMatchObject(
        failed,
      );
      await expect(
        store.decisions.insert(lease, scored(1, true), false, now),
      ).rejects.toMatchObject(failed);
      await expect(store.models.insert(lease, model, 1, now)).rejects.toMatchObject(failed);
      // A decision needs a sample.
      await expect(store.decisions.insert(lease, learning(2), true, now)).rejects.toMatchObject(
        failed,
      );
      // Nothing of what failed is left: the first sample is still held, too.
      expect(await store.samples.find(PATIENT, 1)).toMatchObject(sample(1));
      expect(await store.decisions.list(PATIENT, 1, 10)).toEqual([learning(1)]);
      await store.close();
    });

    it('forgets the ciphertexts that no training will need, and remembers the samples', async () => {
      const { store, lease } = await open();
      for (const sequence of [1, 2, 3, 4, 5, 6, 7]) {
        await store.samples.append(lease, sample(sequence), digest(sequence), now);
      }
      const held = async (): Promise<number[]> => {
        const found = await Promise.all(
          [1, 2, 3, 4, 5, 6, 7].map((n) => store.samples.find(PATIENT, n)),
        );
        return found.flatMap((one) => (one === undefined ? [] : [one.sequence]));
      };
      for (const sequence of [1, 2, 3]) {
        await store.decisions.insert(lease, learning(sequence), true, now);
      }
      // Outlier or not makes no difference to what is held.
      await store.decisions.insert(lease, scored(4, true), true, now);
      await store.decisions.insert(lease, scored(5, false), true, now);
      expect(await held()).toEqual([1, 2, 3, 4, 5, 6, 7]);
      const unscorable: Decision = { sequence: 6, outcome: { kind: 'unscorable' } };
      await store.decisions.insert(lease, unscorable, false, now);
      expect(await held()).toEqual([1, 2, 3, 4, 5, 7]);
      expect((await store.samples.all(PATIENT, [2, 3, 5])).map((one) => one.sequence)).toEqual([
        2, 3, 5,
      ]);
      const model = { number: 1, throughSequence: 6, content: new Uint8Array(9), trainMs: 1 };
      await store.models.insert(lease, model, 3, now);
      expect(await held()).toEqual([3, 4, 5, 7]);
      await expect(store.samples.all(PATIENT, [2, 3, 5])).rejects.toMatchObject({
        code: 'STORAGE_FAILED',
      });
      expect(await store.samples.digest(PATIENT, 1)).toEqual(new Uint8Array(digest(1)));
      expect(await store.samples.last(PATIENT)).toBe(7);
      await store.close();
    });

    it('tells which samples were accepted, as far back as is asked', async () => {
      const { store, lease } = await open();
      // Every third is an outlier; more of them than are read at once.
      const sequences = Array.from({ length: 300 }, (_, i) => i + 1);
      await Promise.all(
        sequences.map((sequence) =>
          store.samples.append(lease, { sequence, ciphertexts: [] }, digest(1), now),
        ),
      );
      await Promise.all(
        sequences.map((sequence) =>
          store.decisions.insert(lease, scored(sequence, sequence % 3 === 0), true, now),
        ),
      );
      const accepted = sequences.filter((n) => n % 3 !== 0);
      expect((await store.decisions.accepted(PATIENT, 3, 300)).slice(-3)).toEqual([296, 298, 299]);
      const all = await store.decisions.accepted(PATIENT, 1000, 300);
      expect(all).toEqual(accepted);
      const since = await store.decisions.accepted(PATIENT, 1, 100);
      expect(since.filter((n) => n > 100)).toEqual(accepted.filter((n) => n > 100));
      await store.close();
    });

    it('tells of the trainings after one, from a sample on', async () => {
      const { store, lease } = await open();
      await Promise.all(
        Array.from({ length: 100 }, (_, i) => i + 1).map((number) => {
          const content = digest(1);
          const model = { number, throughSequence: 10 * number, content, trainMs: number };
          return store.models.insert(lease, model, 1, now);
        }),
      );
      const numbers = async (after: number, from: number): Promise<number[]> =>
        (await store.models.trainings(PATIENT, after, from)).map(({ number }) => number);
      expect(await numbers(0, 0)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
      expect(await numbers(97, 0)).toEqual([98, 99, 100]);
      expect(await numbers(0, 981)).toEqual([99, 100]);
      expect(await numbers(0, 1001)).toEqual([]);
      expect(await store.models.trainings(PATIENT, 99, 1)).toEqual([
        { number: 100, throughSequence: 1000, trainMs: 100 },
      ]);
      await store.close();
    });

    it('belongs to the parameters and to the key that it was made for', async () => {
      await (await open()).store.close();
      await (await reopened()).close();
      const { modulus, generator, digest: expected } = parameters;
      const others = publicParameters('bcp03', modulus, generator);
      await vi.waitFor(async () => {
        collectGarbage();
        await expect(openWith({ parameters: others })).rejects.toMatchObject({
          code: 'PARAMETERS_MISMATCH',
          details: { expected },
        });
      });
      await vi.waitFor(async () => {
        collectGarbage();
        const key = new Secret(new Uint8Array(32));
        await expect(openWith({ key })).rejects.toMatchObject({ code: 'UNSEALING_FAILED' });
      });
      await (await reopened()).close();
    });
  });
}
