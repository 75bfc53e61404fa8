import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { Bcp, ciphertextOf, publicParameters } from '@duoveil/common/bcp';
import type { Ciphertext } from '@duoveil/common/bcp';
import { systemRandom } from '@duoveil/common/random';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { engine, PATIENT, STORE_KEY, testParameters, testPatient } from '../fixture.js';
import { openDatabase, type Connection } from './database.js';
import { DecisionStore } from './decisions.js';
import { GroupCommit } from './group-commit.js';
import { openStore } from './index.js';
import type { Decision, Store } from './index.js';
import { ModelStore } from './models.js';
import { PatientStore } from './patients.js';
import { SampleStore } from './samples.js';
import { StoreSeal } from './seal.js';

const parameters = await testParameters();
const { patient } = await testPatient(new Bcp(parameters, engine));
const seal = new StoreSeal(STORE_KEY, systemRandom);
const now = new Date('2026-01-02T03:04:05.678Z');

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-store-'));
  file = join(directory, 'store.db');
});
afterEach(() => rm(directory, { recursive: true }));

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** The driver gives a file's lock back when its statements are forgotten: a process ends instead. */
async function reopened(): Promise<Store> {
  return vi.waitFor(async () => {
    collectGarbage();
    return openStore(file, parameters, STORE_KEY);
  });
}

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

async function open(): Promise<Store> {
  const store = await openStore(file, parameters, STORE_KEY);
  await store.patients.keep(patient, now);
  return store;
}

describe('a store', () => {
  it('gives back what was put, also after it was opened again', async () => {
    const store = await open();
    await store.samples.append(PATIENT, sample(1), digest(1), now);
    await store.samples.append(PATIENT, sample(2), digest(2), now);
    await store.decisions.insert(PATIENT, learning(1), true, now);
    await store.decisions.insert(PATIENT, scored(2, true), true, now);
    const model = {
      number: 1,
      throughSequence: 2,
      content: new Uint8Array([7, 8, 0, 255]),
      trainMs: 12.25,
    };
    await store.models.insert(PATIENT, model, 1, now);
    await store.close();

    const again = await reopened();
    expect(await again.patients.all()).toEqual([
      {
        ...patient,
        key: {
          publicKey: new Uint8Array(patient.key.publicKey),
          commitment: new Uint8Array(patient.key.commitment),
          response: new Uint8Array(patient.key.response),
        },
      },
    ]);
    expect(await again.samples.last(PATIENT)).toBe(2);
    expect(await again.samples.find(PATIENT, 1)).toEqual(sample(1));
    expect(await again.samples.digest(PATIENT, 2)).toEqual(new Uint8Array(digest(2)));
    expect(await again.decisions.list(PATIENT, 1, 10)).toEqual([learning(1), scored(2, true)]);
    expect(await again.models.latest(PATIENT)).toEqual(model);
    await again.close();
  });

  it('is one process at a time', async () => {
    const store = await open();
    await expect(openStore(file, parameters, STORE_KEY)).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('is another service provider running') as string,
    });
    await store.close();
    await (await reopened()).close();
  });

  it('says what to look at where its file is none', async () => {
    await expect(openStore(join(directory, 'a', 'b'), parameters, STORE_KEY)).rejects.toMatchObject(
      {
        code: 'STORAGE_FAILED',
        message: expect.stringContaining('is its directory there') as string,
      },
    );
    await writeFile(file, 'no database, but long enough to be looked at. '.repeat(100));
    await expect(openStore(file, parameters, STORE_KEY)).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: 'the store failed: its file is no database',
    });
  });

  it('belongs to the parameters that it was made for', async () => {
    await (await open()).close();
    await (await reopened()).close();
    const { modulus, generator, digest: expected } = parameters;
    const others = publicParameters('bcp03', modulus, generator);
    await vi.waitFor(async () => {
      collectGarbage();
      await expect(openStore(file, others, STORE_KEY)).rejects.toMatchObject({
        code: 'PARAMETERS_MISMATCH',
        details: { expected },
      });
    });
    await (await reopened()).close();
  });

  it('takes a sample, a decision and a model once', async () => {
    const store = await open();
    const failed = { code: 'STORAGE_FAILED' };
    const model = { number: 1, throughSequence: 1, content: new Uint8Array(9), trainMs: 1 };
    await store.samples.append(PATIENT, sample(1), digest(1), now);
    await store.decisions.insert(PATIENT, learning(1), true, now);
    await store.models.insert(PATIENT, model, 1, now);
    await expect(store.samples.append(PATIENT, sample(1), digest(9), now)).rejects.toMatchObject(
      failed,
    );
    await expect(
      store.decisions.insert(PATIENT, scored(1, true), false, now),
    ).rejects.toMatchObject(failed);
    await expect(store.models.insert(PATIENT, model, 1, now)).rejects.toMatchObject(failed);
    // A decision needs a sample, a sample a patient.
    await expect(store.decisions.insert(PATIENT, learning(2), true, now)).rejects.toMatchObject(
      failed,
    );
    // Nothing of what failed is left: the first sample is still held, too.
    expect(await store.samples.find(PATIENT, 1)).toEqual(sample(1));
    expect(await store.decisions.list(PATIENT, 1, 10)).toEqual([learning(1)]);
    await store.close();
  });

  it('forgets the ciphertexts that no training will need, and remembers the samples', async () => {
    const store = await open();
    for (const sequence of [1, 2, 3, 4, 5, 6, 7]) {
      await store.samples.append(PATIENT, sample(sequence), digest(sequence), now);
    }
    const held = async (): Promise<number[]> => {
      const found = await Promise.all(
        [1, 2, 3, 4, 5, 6, 7].map((n) => store.samples.find(PATIENT, n)),
      );
      return found.flatMap((one) => (one === undefined ? [] : [one.sequence]));
    };
    for (const sequence of [1, 2, 3]) {
      await store.decisions.insert(PATIENT, learning(sequence), true, now);
    }
    // Outlier or not makes no difference to what is held.
    await store.decisions.insert(PATIENT, scored(4, true), true, now);
    await store.decisions.insert(PATIENT, scored(5, false), true, now);
    expect(await held()).toEqual([1, 2, 3, 4, 5, 6, 7]);
    const unscorable: Decision = { sequence: 6, outcome: { kind: 'unscorable' } };
    await store.decisions.insert(PATIENT, unscorable, false, now);
    expect(await held()).toEqual([1, 2, 3, 4, 5, 7]);
    expect((await store.samples.all(PATIENT, [2, 3, 5])).map((one) => one.sequence)).toEqual([
      2, 3, 5,
    ]);
    const model = { number: 1, throughSequence: 6, content: new Uint8Array(9), trainMs: 1 };
    await store.models.insert(PATIENT, model, 3, now);
    expect(await held()).toEqual([3, 4, 5, 7]);
    await expect(store.samples.all(PATIENT, [2, 3, 5])).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
    });
    expect(await store.samples.digest(PATIENT, 1)).toEqual(new Uint8Array(digest(1)));
    expect(await store.samples.last(PATIENT)).toBe(7);
    await store.close();
  });

  it('tells which samples were accepted, as far back as is asked', async () => {
    const store = await open();
    // Every third is an outlier; more of them than are read at once.
    for (let sequence = 1; sequence <= 600; sequence += 1) {
      await store.samples.append(PATIENT, { sequence, ciphertexts: [] }, digest(1), now);
      await store.decisions.insert(PATIENT, scored(sequence, sequence % 3 === 0), true, now);
    }
    const accepted = Array.from({ length: 600 }, (_, i) => i + 1).filter((n) => n % 3 !== 0);
    expect((await store.decisions.accepted(PATIENT, 3, 600)).slice(-3)).toEqual([596, 598, 599]);
    const all = await store.decisions.accepted(PATIENT, 1000, 600);
    expect(all).toEqual(accepted);
    const since = await store.decisions.accepted(PATIENT, 1, 100);
    expect(since.filter((n) => n > 100)).toEqual(accepted.filter((n) => n > 100));
    await store.close();
  });

  it('tells of the trainings after one, from a sample on', async () => {
    const store = await open();
    for (let number = 1; number <= 100; number += 1) {
      const model = { number, throughSequence: 10 * number, content: digest(1), trainMs: number };
      await store.models.insert(PATIENT, model, 1, now);
    }
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

  it('says that it is damaged where a ciphertext has the wrong length', async () => {
    const db = await openDatabase(file);
    await new PatientStore(db).keep(patient, now);
    const samples = new SampleStore(db, new GroupCommit(db), parameters);
    await samples.append(PATIENT, sample(1), digest(1), now);
    await sql`UPDATE samples SET ciphertexts = x'00ff'`.execute(db);
    await expect(samples.find(PATIENT, 1)).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
    await db.destroy();
  });
});

describe('a store without room', () => {
  let db: Connection;
  beforeEach(async () => {
    db = await openDatabase(file);
    await new PatientStore(db).keep(patient, now);
  });
  afterEach(() => db.destroy());

  /** Lets the file grow no further, or by as much as it likes. */
  async function limit(on: boolean): Promise<void> {
    // The limit is never set below the pages that there are.
    await sql`PRAGMA max_page_count = ${sql.raw(on ? '1' : '1000000')}`.execute(db);
  }

  it('says so, whatever is written, keeps what it has, and goes on when there is room', async () => {
    const commits = new GroupCommit(db);
    const samples = new SampleStore(db, commits, parameters);
    const decisions = new DecisionStore(db, commits, seal);
    const models = new ModelStore(db, commits, seal);
    let last = 0;
    const append = async (ciphertexts: Ciphertext[]): Promise<void> => {
      const next = { sequence: last + 1, ciphertexts };
      await samples.append(PATIENT, next, digest(1), now);
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
    await expect(models.insert(PATIENT, model, 1, now)).rejects.toMatchObject(full);
    const decide = async (): Promise<void> => {
      for (let sequence = 1; sequence <= last; sequence += 1) {
        await decisions.insert(PATIENT, learning(sequence), true, now);
      }
    };
    await expect(decide()).rejects.toMatchObject(full);
    expect(await models.latest(PATIENT)).toBeUndefined();
    const decided = await decisions.last(PATIENT);
    expect(decided).toBeLessThan(last);

    await limit(false);
    await append([ciphertext(1)]);
    await models.insert(PATIENT, model, 1, now);
    await decisions.insert(PATIENT, learning(decided + 1), true, now);
    expect(await samples.last(PATIENT)).toBe(last);
    expect(await decisions.last(PATIENT)).toBe(decided + 1);
    expect((await models.latest(PATIENT))?.content).toEqual(content);
  });
});
