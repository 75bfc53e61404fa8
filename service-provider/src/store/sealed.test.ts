/** What the database shows: sizes, numbers and times, and nothing of what was decided. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Bcp } from '@duoveil/common/bcp';
import { systemRandom } from '@duoveil/common/random';
import { parsePatientId } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  engine,
  LEASE_MS,
  leaseOf,
  PATIENT,
  STORE_KEY,
  testParameters,
  testPatient,
} from '../fixture.js';
import { bytesOf } from './blobs.js';
import type { Decision } from './decisions.js';
import { decodeOutcome, encodeOutcome, OUTCOME_BYTES, type Outcome } from './outcomes.js';
import { StoreSeal, type Seal } from './seal.js';
import { openSqlite } from './sqlite.js';
import { storeOver, type Store } from './store.js';
import type { Connection } from './database.js';

const parameters = await testParameters();
const { patient } = await testPatient(new Bcp(parameters, engine));
const now = new Date('2026-01-02T03:04:05.678Z');
const seal = new StoreSeal(STORE_KEY, systemRandom);

const level = (value: number, latencyMs = 2.5): Outcome => ({
  kind: 'scored',
  outlier: value > 0,
  statistic: { kind: 'level', level: value },
  model: 1,
  latencyMs,
});
const distance = (squaredDistance: number): Outcome => ({
  kind: 'scored',
  outlier: squaredDistance > 9,
  statistic: { kind: 'distance', squaredDistance },
  model: 1,
  latencyMs: 1 / 7,
});
const OUTCOMES: readonly Outcome[] = [
  { kind: 'learning' },
  { kind: 'unscorable' },
  level(0),
  level(3),
  distance(Math.PI),
  distance(12_345.678_9),
];

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-sealed-'));
});
afterEach(() => rm(directory, { recursive: true }));

/** A patient's series in a database of its own. */
interface Series {
  readonly store: Store;
  readonly db: Connection;
  /** All that is on disk of it. */
  readonly bytes: () => Promise<Buffer>;
}

/** A series in a database of its own; what is decided, and how it is sealed, is given. */
async function series(
  name: string,
  outcomes: readonly Outcome[],
  options: { readonly seal?: Seal; readonly keep?: (outcome: Outcome) => boolean } = {},
): Promise<Series> {
  const database = await openSqlite(join(directory, name));
  const store = await storeOver(database, parameters, options.seal ?? seal, LEASE_MS);
  await store.patients.keep(patient, now);
  const lease = await leaseOf(store);
  for (const [i, outcome] of outcomes.entries()) {
    const decision: Decision = { sequence: i + 1, outcome };
    const sample = { sequence: i + 1, ciphertexts: [] };
    await store.samples.append(lease, sample, Buffer.alloc(32), now);
    await store.decisions.insert(lease, decision, options.keep?.(outcome) ?? true, now);
  }
  const content = Buffer.from('the share of a model: no thief is to read it');
  const model = { number: 1, throughSequence: outcomes.length, content, trainMs: Math.E };
  await store.models.insert(lease, model, 1, now);
  return {
    store,
    db: database.db,
    // With the log, which holds what was written last.
    bytes: async () => {
      const names = (await readdir(directory)).filter((one) => one.startsWith(name));
      return Buffer.concat(await Promise.all(names.map((one) => readFile(join(directory, one)))));
    },
  };
}

function double(value: number): Buffer[] {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return [bytes, Buffer.from(bytes).reverse(), Buffer.from(String(value))];
}

/** Traces of what was decided, by name. */
const TRACES: ReadonlyMap<string, readonly Buffer[]> = new Map([
  ['pi', double(Math.PI)],
  ['a large distance', double(12_345.678_9)],
  ['a latency', double(1 / 7)],
  ['a duration', double(Math.E)],
  ['level 3', [encodeOutcome(level(3))]],
  ['level 0', [encodeOutcome(level(0))]],
  ['a share', [Buffer.from('no thief is to read it')]],
  ['a word', ['learning', 'scored', 'unscorable', 'outlier'].map((word) => Buffer.from(word))],
]);

function traces(bytes: Buffer): string[] {
  return [...TRACES]
    .filter(([, forms]) => forms.some((one) => bytes.includes(one)))
    .map(([name]) => name);
}

/** Seals nothing. */
const BROKEN: Seal = {
  close: (plaintext) => Buffer.from(plaintext),
  open: (sealed) => Buffer.from(sealed),
};

/** Everything but the content of what is sealed or encrypted: of that, the length. */
async function visible({ db }: { readonly db: Connection }): Promise<unknown> {
  const rows = await Promise.all(
    (['samples', 'decisions', 'models'] as const).map((table) =>
      db.selectFrom(table).selectAll().execute(),
    ),
  );
  return JSON.parse(
    JSON.stringify(rows, (_key, value: unknown) =>
      value instanceof ArrayBuffer || value instanceof Uint8Array ? value.byteLength : value,
    ),
  );
}

describe('a thief of the database', () => {
  it('finds no trace of a level, a distance, a latency or a share', async () => {
    const { store, bytes } = await series('store.db', OUTCOMES);
    expect((await bytes()).includes(PATIENT)).toBe(true);
    expect(traces(await bytes())).toEqual([]);
    await store.close();
    expect(traces(await bytes())).toEqual([]);
  });

  it('would find them where nothing was sealed', async () => {
    const { store, bytes } = await series('broken.db', OUTCOMES, { seal: BROKEN });
    const all = [...TRACES.keys()].filter((name) => name !== 'a word');
    expect(traces(await bytes())).toEqual(all);
    await store.close();
  });

  it('sees the same whatever was decided', async () => {
    const calm = await series(
      'calm.db',
      OUTCOMES.map(() => level(0)),
    );
    const alarming = await series('alarming.db', OUTCOMES);
    expect(await visible(alarming)).toEqual(await visible(calm));
    // Outliers whose ciphertexts are forgotten would show.
    const telling = await series('telling.db', OUTCOMES, {
      keep: (outcome) => outcome.kind !== 'scored' || !outcome.outlier,
    });
    expect(await visible(telling)).not.toEqual(await visible(calm));
    await Promise.all([calm, alarming, telling].map(({ store }) => store.close()));
  });
});

describe('a sealed value', () => {
  const place = { kind: 'outcome', patient: PATIENT, number: 7 } as const;

  it('opens where it was put and nowhere else', () => {
    const sealed = seal.close(Buffer.from('value'), place);
    expect(seal.open(sealed, place).toString()).toBe('value');
    const other = new StoreSeal(new Secret(new Uint8Array(32)), systemRandom);
    const spoilt = Buffer.from(sealed);
    spoilt[14] = (spoilt[14] ?? 0) ^ 1;
    for (const open of [
      () => seal.open(sealed, { ...place, number: 8 }),
      () => seal.open(sealed, { ...place, kind: 'notice' as const }),
      () => seal.open(sealed, { ...place, patient: parsePatientId('patient-2', 'patient') }),
      () => other.open(sealed, place),
      () => seal.open(spoilt, place),
      () => seal.open(sealed.subarray(0, 20), place),
      () => seal.open(Buffer.alloc(0), place),
    ]) {
      expect(open).toThrow(expect.objectContaining({ code: 'UNSEALING_FAILED' }) as Error);
    }
  });

  it('is another one each time', () => {
    const [first, second] = [1, 2].map(() => seal.close(Buffer.from('value'), place));
    expect(first).not.toEqual(second);
  });

  it('is not moved to another row unnoticed', async () => {
    const { store, db } = await series('store.db', [level(0), level(3)]);
    const first = await db
      .selectFrom('decisions')
      .select('sealed_outcome')
      .where('sequence', '=', 1)
      .executeTakeFirstOrThrow();
    const sealed_outcome = bytesOf(first.sealed_outcome);
    await db.updateTable('decisions').set({ sealed_outcome }).where('sequence', '=', 2).execute();
    await expect(store.decisions.list(PATIENT, 1, 10)).rejects.toMatchObject({
      code: 'UNSEALING_FAILED',
    });
    await store.close();
  });
});

describe('an outcome', () => {
  it.each(OUTCOMES)('comes back, and is as long as any other: $kind', (outcome) => {
    const bytes = encodeOutcome(outcome);
    expect(bytes).toHaveLength(OUTCOME_BYTES);
    expect(decodeOutcome(bytes)).toEqual(outcome);
  });

  it('is refused where it is none', () => {
    for (const bytes of [Buffer.alloc(23), Buffer.alloc(24, 3)]) {
      expect(() => decodeOutcome(bytes)).toThrow(
        expect.objectContaining({ code: 'STORAGE_FAILED' }) as Error,
      );
    }
  });
});
