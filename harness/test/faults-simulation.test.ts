/** Seeded operation lists against real services: each sample is decided on once, and right. */
import { beforeAll, expect, onTestFinished, test } from 'vitest';

import { KNOWN_SEEDS, planBatches, reportOf, simulateFaults } from '../src/faults/index.js';
import type { BatchPlan } from '../src/faults/index.js';
import { testEngine } from '../src/local/engine.js';
import { Postgres } from '../src/parties/postgres.js';
import { POSTGRES_AVAILABLE } from './support/databases.js';
import { readStore, shareDatabase } from './support/faults.js';

/** How many lists beside those that failed once; `npm run test:faults` says more. */
const LISTS = Number(process.env['DUOVEIL_FAULT_LISTS'] ?? 16);

/** `batch:list` to run one list alone, or `batch` for all of a batch. */
const [ONE_BATCH, ONE_LIST] = (process.env['DUOVEIL_FAULT_SEED'] ?? '').split(':');

/** The seed of the first list. */
const FIRST = Number(process.env['DUOVEIL_FAULT_FIRST'] ?? 1);

/** Two SPs on one PostgreSQL, where it is wanted: a tenth of the lists more. */
const SHARED = {
  ...(planBatches(900_000 + FIRST, Math.max(6, Math.ceil(LISTS / 10)))[0] ?? never()),
  shared: true,
};

function plans(): readonly BatchPlan[] {
  if (ONE_BATCH === undefined || ONE_BATCH === '') {
    const known = KNOWN_SEEDS.map(({ batch, list }) => ({ batch, lists: [list] }));
    return [
      ...known,
      ...planBatches(FIRST, LISTS),
      ...(POSTGRES_AVAILABLE && process.env['DUOVEIL_FAULT_SHARED'] === '1' ? [SHARED] : []),
    ];
  }
  const batch = Number(ONE_BATCH);
  const shared = batch >= SHARED.batch;
  if (ONE_LIST !== undefined) return [{ batch, lists: [Number(ONE_LIST)], shared }];
  return planBatches(batch, LISTS)
    .slice(0, 1)
    .map((plan) => ({ ...plan, shared }));
}

beforeAll(() => {
  // gRPC asks for a stack at each call; to find its lines in the sources takes longer than the call.
  Reflect.deleteProperty(Error, 'prepareStackTrace');
});

test(
  'whatever happens, each sample is decided on once, as the oracle does',
  { timeout: 1_800_000 },
  async () => {
    const postgres = POSTGRES_AVAILABLE ? await Postgres.start() : undefined;
    onTestFinished(() => postgres?.stop());
    const result = await simulateFaults(plans(), {
      engine: testEngine(),
      readStore,
      ...(postgres !== undefined && { makeDatabase: () => shareDatabase(postgres) }),
    });
    process.stdout.write(`\n${reportOf(result)}\n`);
    expect(result.failures).toEqual([]);
    expect(result.decisions).toBe(result.samples);
  },
);

function never(): never {
  throw new Error('there is a first batch');
}
