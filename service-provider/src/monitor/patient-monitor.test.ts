import { Bcp, ciphertextOf } from '@duoveil/common/bcp';
import { scaleOf } from '@duoveil/common/encoding';
import type { MonitoringPolicy } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { Bell, silentLogger, systemClock } from '@duoveil/common/runtime';
import type { Sleep } from '@duoveil/common/runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { replay, scoreExact, trainExact } from '../../../harness/src/oracle/index.js';
import { seededPrng } from '../../../harness/src/simulation/prng.js';
import {
  engine,
  leaseOf,
  memoryStore,
  PATIENT,
  policyOf,
  SCHEMA,
  testParameters,
} from '../fixture.js';
import { testPatient } from '../fixture.js';
import type { Lease, Patient, Store, StoredModel, StoredSample } from '../store/index.js';
import type { AlarmPolicy } from '../alarms/alarm.js';
import { alarmPolicy } from '../alarms/policy.js';
import { AlarmKeeper } from './alarm-keeper.js';
import { Backlog } from './backlog.js';
import { PatientMonitor } from './patient-monitor.js';
import type { PatientSuite, Score } from './suite.js';

const parameters = await testParameters();
const template = (await testPatient(new Bcp(parameters, engine))).patient;
const floors = SCHEMA.channels.map((channel) => scaleOf(channel).F);

const valuesOf = ({ ciphertexts }: StoredSample): bigint[] => ciphertexts.map(({ a }) => a);

/**
 * A suite that computes on what it is given as it stands: a "ciphertext" holds its value in `a`. The
 * first window of a model is in the model itself.
 */
class ClearSuite implements PatientSuite {
  readonly ciphertextsPerSample = 2;
  /** Called before each step; may throw in its place. */
  before: (what: 'train' | 'score') => void = () => undefined;
  trainings: number[][] = [];
  scores = 0;

  train(window: readonly StoredSample[]) {
    return attempt(() => {
      this.before('train');
      this.trainings.push(window.map(({ sequence }) => sequence));
      return Buffer.from(JSON.stringify(window.map((sample) => valuesOf(sample).map(Number))));
    });
  }

  score({ content }: StoredModel, sample: StoredSample) {
    return attempt((): Score | undefined => {
      this.before('score');
      this.scores += 1;
      const values = valuesOf(sample);
      if (values.some((value) => value > 100_000n)) return undefined;
      const window = JSON.parse(Buffer.from(content).toString()) as number[][];
      const model = trainExact(
        window.map((row) => row.map(BigInt)),
        floors,
      );
      return { kind: 'distance', distance: scoreExact(model, values) };
    });
  }

  sums(): Promise<never> {
    return Promise.reject(new Error('not here'));
  }
}

function attempt<T>(work: () => T): Promise<T> {
  try {
    return Promise.resolve(work());
  } catch (error) {
    return Promise.reject(error instanceof Error ? error : new Error('failed'));
  }
}

let store: Store;
let lease: Lease | undefined;
beforeEach(async () => {
  lease = undefined;
  store = await memoryStore(parameters);
});
afterEach(() => store.close());

async function enrolled(policy: MonitoringPolicy): Promise<Patient> {
  return store.patients.keep({ ...template, policy }, new Date());
}

async function take(sequence: number, values: readonly bigint[]): Promise<void> {
  lease ??= await leaseOf(store);
  const ciphertexts = values.map((value) => ciphertextOf(value, 1n));
  await store.samples.append(lease, { sequence, ciphertexts }, Buffer.alloc(32), new Date());
}

/** Runs a monitor until the last sample is decided on, or until it is to stop. */
async function run(
  patient: Patient,
  suite: PatientSuite,
  options: {
    readonly last: number;
    readonly sleep?: Sleep;
    readonly stop?: AbortController;
    readonly alarms?: AlarmPolicy;
    readonly books?: Bell;
  },
): Promise<void> {
  const { last, sleep = () => Promise.resolve(), stop = new AbortController() } = options;
  const { alarms = alarmPolicy(), books = new Bell() } = options;
  const [arrivals, progress] = [new Bell(), new Bell()];
  lease ??= await leaseOf(store);
  const keeping = { lease, store, clock: systemClock, policy: alarms, books, observer: undefined };
  const environment = {
    lease,
    store,
    alarms: new AlarmKeeper(keeping),
    clock: systemClock,
    sleep,
    logger: silentLogger(),
    arrivals,
    progress,
    backlog: new Backlog(systemClock),
  };
  const running = new PatientMonitor(patient, suite, environment).run(stop.signal);
  for (;;) {
    const heard = progress.count;
    if ((await store.decisions.last(PATIENT)) >= last || stop.signal.aborted) break;
    await progress.next(heard, stop.signal);
  }
  stop.abort();
  await running;
}

/** Rows of a patient with a jump now and then. */
function rowsOf(seed: number, count: number): bigint[][] {
  const prng = seededPrng(seed);
  return Array.from({ length: count }, () => {
    const jump = prng.uniform() < 0.2 ? prng.integer(20, 200) : 0;
    return [600 + prng.integer(0, 20) + jump, 650 + prng.integer(0, 8) - jump].map(BigInt);
  });
}

function expectedOf(rows: readonly bigint[][], policy: MonitoringPolicy) {
  const cells = rows.map(([hr = 0n, spo2 = 0n]) => ({
    cells: {
      HR: (20 + Number(hr) / 10).toFixed(1),
      SpO2: (30 + Number(spo2) / 10).toFixed(1),
    },
  }));
  return replay(cells, SCHEMA, policy).map((row) =>
    'outlier' in row
      ? {
          sequence: row.index + 1,
          outlier: row.outlier,
          kind: 'distance',
          squaredDistance: row.md2,
        }
      : { sequence: row.index + 1, kind: 'learning' },
  );
}

async function decided() {
  const decisions = await store.decisions.list(PATIENT, 1, 10_000);
  return decisions.map(({ sequence, outcome }) =>
    outcome.kind === 'scored'
      ? { sequence, outlier: outcome.outlier, ...outcome.statistic }
      : { sequence, kind: outcome.kind },
  );
}

const policies: readonly MonitoringPolicy[] = [
  policyOf(SCHEMA, { window: 5 }),
  policyOf(SCHEMA, { window: 5, baseline: 'rolling', retrainEvery: 1 }),
  policyOf(SCHEMA, { window: 8, baseline: 'rolling', retrainEvery: 3 }),
  // More between trainings than a window holds.
  policyOf(SCHEMA, { window: 4, baseline: 'rolling', retrainEvery: 9 }),
];

describe.each(policies)('a monitor, $baseline, $window, every $retrainEvery', (policy) => {
  it('decides as the oracle does', async () => {
    const patient = await enrolled(policy);
    const rows = rowsOf(1, 60);
    for (const [i, row] of rows.entries()) await take(i + 1, row);
    const suite = new ClearSuite();
    await run(patient, suite, { last: 60 });
    expect(await decided()).toEqual(expectedOf(rows, policy));
    expect(suite.scores).toBe(60 - policy.window);
    expect(suite.trainings.every((window) => window.length === policy.window)).toBe(true);
  });

  it.each([2, 3, 4])('does so through failures and restarts, too (%i)', async (seed) => {
    const patient = await enrolled(policy);
    const rows = rowsOf(seed, 40);
    const prng = seededPrng(seed, 1);
    let taken = 0;
    while ((await store.decisions.last(PATIENT)) < rows.length) {
      // Some more samples; a new process; a suite that fails now and then; a stop at any step.
      const more = prng.integer(taken === rows.length ? 0 : 1, 15);
      for (const row of rows.slice(taken, taken + more)) await take((taken += 1), row);
      const stop = new AbortController();
      const suite = new ClearSuite();
      let steps = prng.integer(1, 30);
      suite.before = () => {
        steps -= 1;
        if (steps === 0) stop.abort();
        if (prng.uniform() < 0.3) {
          throw duoveilError('PEER_UNAVAILABLE', 'away', { peer: 'csp' });
        }
      };
      await run(patient, suite, { last: taken, stop });
    }
    expect(await decided()).toEqual(expectedOf(rows, policy));
  });
});

describe('a monitor', () => {
  it.each([
    // The window stays, for the day when its patient gets another key.
    { baseline: 'fixed', window: 5, retrainEvery: 0 } as const,
    { baseline: 'rolling', window: 5, retrainEvery: 3 } as const,
  ])('holds the ciphertexts that trainings need, $baseline', async (fields) => {
    const patient = await enrolled(policyOf(SCHEMA, fields));
    for (const [i, row] of rowsOf(1, 40).entries()) await take(i + 1, row);
    const suite = new ClearSuite();
    await run(patient, suite, { last: 40 });
    const held: number[] = [];
    for (let sequence = 1; sequence <= 40; sequence += 1) {
      if ((await store.samples.find(PATIENT, sequence)) !== undefined) held.push(sequence);
    }
    // Without a gap where an outlier was.
    const oldest = suite.trainings.at(-1)?.[0] ?? 0;
    const count = fields.baseline === 'fixed' ? fields.window : 41 - oldest;
    expect(held).toEqual(Array.from({ length: count }, (_, i) => oldest + i));
    expect(oldest).toBeGreaterThan(fields.baseline === 'fixed' ? 0 : 10);
  });

  it('pauses ever longer while a step fails, and shortly again after it did not', async () => {
    const patient = await enrolled(policyOf(SCHEMA, { window: 4 }));
    for (const [i, row] of rowsOf(1, 6).entries()) await take(i + 1, row);
    const suite = new ClearSuite();
    let failures = 0;
    suite.before = (what) => {
      if (failures < (what === 'train' ? 8 : 10)) {
        failures += 1;
        throw new Error('not yet');
      }
    };
    const pauses: number[] = [];
    const sleep: Sleep = (ms) => {
      pauses.push(ms);
      return Promise.resolve();
    };
    await run(patient, suite, { last: 6, sleep });
    expect(pauses).toEqual([200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 200, 400]);
  });

  it('waits until there is budget again, and asks no sooner', async () => {
    const patient = await enrolled(policyOf(SCHEMA, { window: 4 }));
    for (const [i, row] of rowsOf(1, 5).entries()) await take(i + 1, row);
    const suite = new ClearSuite();
    const waits = [45_000, 7_200_000, 1];
    suite.before = (what) => {
      const retryAfterMs = what === 'score' ? waits.shift() : undefined;
      if (retryAfterMs !== undefined) {
        throw duoveilError('BUDGET_EXCEEDED', 'spent', { retryAfterMs });
      }
    };
    const pauses: number[] = [];
    const sleep: Sleep = (ms) => {
      pauses.push(ms);
      return Promise.resolve();
    };
    await run(patient, suite, { last: 5, sleep });
    expect(pauses).toEqual([45_000, 7_200_000, 800]);
  });

  it('goes on after a sample that cannot be scored, and does not learn from it', async () => {
    const policy = policyOf(SCHEMA, { window: 4, baseline: 'rolling', retrainEvery: 1 });
    const patient = await enrolled(policy);
    const rows = rowsOf(1, 8);
    for (const [i, row] of rows.entries()) await take(i + 1, i === 5 ? [1_000_000n, 1n] : row);
    const suite = new ClearSuite();
    await run(patient, suite, { last: 8 });
    expect((await decided()).map((one) => one.kind)).toEqual([
      ...['learning', 'learning', 'learning', 'learning', 'distance', 'unscorable'],
      ...['distance', 'distance'],
    ]);
    expect(suite.trainings.flat()).not.toContain(6);
  });

  it('ends at once where it has nothing to do, and in a pause', async () => {
    const patient = await enrolled(policyOf(SCHEMA, { window: 4 }));
    const idle = new AbortController();
    const waiting = run(patient, new ClearSuite(), { last: 1, stop: idle });
    idle.abort();
    await waiting;

    for (const [i, row] of rowsOf(1, 5).entries()) await take(i + 1, row);
    const suite = new ClearSuite();
    suite.before = () => {
      throw new Error('never');
    };
    const stop = new AbortController();
    const sleep: Sleep = (_, signal) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => {
          reject(new Error('aborted'));
        });
        stop.abort();
      });
    await run(patient, suite, { last: 5, stop, sleep });
    expect(await store.decisions.last(PATIENT)).toBe(4);
  });
});
