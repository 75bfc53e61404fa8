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

/** How many lists beside these with two SPs on one PostgreSQL. */
const SHARED_LISTS = Number(process.env['DUOVEIL_FAULT_SHARED'] ?? 0);

/** `batch:list` to run one list alone, or `batch` for all of a batch. */
const [ONE_BATCH, ONE_LIST] = (process.env['DUOVEIL_FAULT_SEED'] ?? '').split(':');

/** The seed of the first list. */
const FIRST = Number(process.env['DUOVEIL_FAULT_FIRST'] ?? 1);

/** From this seed on, lists are those of two SPs on one PostgreSQL. */
const SHARED_FIRST = 900_000;

function plans(): readonly BatchPlan[] {
  if (ONE_BATCH === undefined || ONE_BATCH === '') {
    const known = KNOWN_SEEDS.map(({ batch, list }) => ({ batch, lists: [list] }));
    return [
      ...known,
      ...planBatches(FIRST, LISTS),
      ...planBatches(SHARED_FIRST + FIRST, SHARED_LISTS),
    ].map(placed);
  }
  const batch = Number(ONE_BATCH);
  if (ONE_LIST !== undefined) return [placed({ batch, lists: [Number(ONE_LIST)] })];
  const lists = batch < SHARED_FIRST ? LISTS : SHARED_LISTS;
  return planBatches(batch, lists).slice(0, 1).map(placed);
}

function placed(plan: BatchPlan): BatchPlan {
  return { ...plan, shared: plan.batch >= SHARED_FIRST };
}

beforeAll(() => {
  // gRPC asks for a stack at each call; to find its lines in the sources takes longer than the call.
  Reflect.deleteProperty(Error, 'prepareStackTrace');
});

test(
  'whatever happens, each sample is decided on once, as the oracle does',
  { timeout: 1_800_000 },
  async () => {
    const planned = plans();
    const shared = planned.some((plan) => plan.shared);
    const postgres = shared && POSTGRES_AVAILABLE ? await Postgres.start() : undefined;
    onTestFinished(() => postgres?.stop());
    const result = await simulateFaults(planned, {
      engine: testEngine(),
      readStore,
      ...(postgres !== undefined && { makeDatabase: () => shareDatabase(postgres) }),
    });
    process.stdout.write(`\n${reportOf(result)}\n`);
    expect(result.failures).toEqual([]);
    expect(result.decisions).toBe(result.samples);
  },
);
