import { Bcp, ciphertextOf } from '@duoveil/common/bcp';
import { scaleOf } from '@duoveil/common/encoding';
import type { MonitoringPolicy } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { Bell, silentLogger, systemClock } from '@duoveil/common/runtime';
import type { Sleep } from '@duoveil/common/runtime';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

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
import { isActive, relearning } from '../alarms/book.js';
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

async function take(sequence: number, values: readonly bigint[], measuredAt?: Date): Promise<void> {
  lease ??= await leaseOf(store);
  const ciphertexts = values.map((value) => ciphertextOf(value, 1n));
  const sample = { sequence, ciphertexts };
  await store.samples.append(lease, sample, Buffer.alloc(32), new Date(), measuredAt);
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
  const nobody = { observer: undefined, outlet: undefined };
  const keeping = { lease, store, clock: systemClock, policy: alarms, books, ...nobody };
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

describe('the alarms of a monitor', () => {
  const rules: AlarmPolicy['levels'] = [{ level: 1, count: 2, of: 4 }];
  const policy = policyOf(SCHEMA, { window: 5 });

  /** A calm baseline, then jumps. */
  const jumpy = (seed: number, count: number): bigint[][] =>
    rowsOf(seed, count).map((row, i) =>
      i < 5 ? [600n + BigInt(5 * i), 650n + BigInt(i % 2)] : row,
    );

  /** After which samples the rule holds that did not before, and whether it does at the end. */
  function expectedAlarms(rows: readonly bigint[][]): { sequence: number; active: boolean }[] {
    const flags = expectedOf(rows, policy).map((row) => 'outlier' in row && row.outlier);
    const holds = flags.map(
      (_, i) => flags.slice(Math.max(0, i - 3), i + 1).filter(Boolean).length > 1,
    );
    return holds.flatMap((now, i) => {
      const raised = now && holds[i - 1] !== true;
      return raised ? [{ sequence: i + 1, active: !holds.slice(i).includes(false) }] : [];
    });
  }

  async function alarms(): Promise<unknown> {
    const { book } = await store.books.read(PATIENT);
    return book.alarms.map((alarm) => ({ sequence: alarm.sequence, active: isActive(alarm) }));
  }

  it.each([5, 6, 7])(
    'are raised and cleared once, through failures and restarts (%i)',
    async (seed) => {
      const patient = await enrolled(policy);
      const rows = jumpy(seed, 60);
      const prng = seededPrng(seed, 2);
      for (const [i, row] of rows.entries()) await take(i + 1, row);
      while ((await store.decisions.last(PATIENT)) < rows.length) {
        const stop = new AbortController();
        const suite = new ClearSuite();
        let steps = prng.integer(1, 20);
        suite.before = () => {
          if ((steps -= 1) === 0) stop.abort();
          if (prng.uniform() < 0.2) throw duoveilError('PEER_UNAVAILABLE', 'away', { peer: 'csp' });
        };
        await run(patient, suite, { last: 60, stop, alarms: alarmPolicy({ levels: rules }) });
      }
      expect(expectedAlarms(rows).length).toBeGreaterThan(1);
      expect(await alarms()).toEqual(expectedAlarms(rows));
    },
  );

  it('are written with the decision, or neither is', async () => {
    const patient = await enrolled(policy);
    const rows = jumpy(5, 40);
    for (const [i, row] of rows.entries()) await take(i + 1, row);
    const insert = store.decisions.insert.bind(store.decisions);
    let failures = 0;
    vi.spyOn(store.decisions, 'insert').mockImplementation((...given) => {
      const [held, decision, keep, now, change] = given;
      if (change === undefined || failures > 2) return insert(...given);
      failures += 1;
      return insert(held, decision, keep, now, (book) => {
        change(book);
        throw new Error('the power is gone');
      });
    });
    await run(patient, new ClearSuite(), { last: 40, alarms: alarmPolicy({ levels: rules }) });
    expect(failures).toBe(3);
    expect(await alarms()).toEqual(expectedAlarms(rows));
  });

  it('are raised of gaps between the times of samples, and of no others', async () => {
    const patient = await enrolled(policy);
    const at = (s: number): Date => new Date(1_767_225_600_000 + s * 1000);
    const times = [0, 1, 31, 32, undefined, 200, 231, 100, 130.5];
    for (const [i, row] of rowsOf(5, times.length).entries()) {
      const time = times[i];
      await take(i + 1, row, time === undefined ? undefined : at(time));
      // As if it were started anew each time.
      await run(patient, new ClearSuite(), { last: i + 1 });
    }
    const { book } = await store.books.read(PATIENT);
    expect(book.alarms.map(({ cause, sequence }) => ({ sequence, ...cause }))).toEqual([
      { sequence: 7, kind: 'gap', from: at(200), to: at(231) },
      { sequence: 9, kind: 'gap', from: at(100), to: at(130.5) },
    ]);
  });
});

describe('a baseline that is learnt anew', () => {
  const asked = { after: undefined, reason: 'operator', by: 'alice', at: new Date(0) } as const;
  const ask = () => store.books.change(new Map([[PATIENT, (book) => relearning(book, asked)]]));

  /** Before the cut as if there was nothing after it, and the other way round. */
  function expectedWithCut(rows: readonly bigint[][], cut: number, policy: MonitoringPolicy) {
    const after = expectedOf(rows.slice(cut), policy);
    return [
      ...expectedOf(rows.slice(0, cut), policy),
      ...after.map((one) => ({ ...one, sequence: one.sequence + cut })),
    ];
  }

  it.each(policies)(
    'is what the oracle has, $baseline, $window, every $retrainEvery',
    async (policy) => {
      const patient = await enrolled(policy);
      const rows = rowsOf(9, 90);
      for (const [i, row] of rows.slice(0, 40).entries()) await take(i + 1, row);
      await run(patient, new ClearSuite(), { last: 40 });
      await ask();
      const prng = seededPrng(3, policy.window);
      let taken = 40;
      while ((await store.decisions.last(PATIENT)) < rows.length) {
        const more = prng.integer(taken === rows.length ? 0 : 1, 15);
        for (const row of rows.slice(taken, taken + more)) await take((taken += 1), row);
        const suite = new ClearSuite();
        suite.before = () => {
          if (prng.uniform() < 0.3) throw new Error('not now');
        };
        await run(patient, suite, { last: taken });
        // Nothing from before is in a window.
        expect(suite.trainings.flat().every((sequence) => sequence > 40)).toBe(true);
      }
      expect(await decided()).toEqual(expectedWithCut(rows, 40, policy));
      const records = (await store.models.records(PATIENT, 1000)).reverse();
      const reasons = records.map(({ throughSequence, reason, by }) => ({
        throughSequence,
        reason,
        by,
      }));
      expect(reasons.map(({ reason }) => reason).slice(0, 1)).toEqual(['first']);
      expect(reasons.filter(({ reason }) => reason === 'operator')).toEqual([
        { throughSequence: 40 + policy.window, reason: 'operator', by: 'alice' },
      ]);
      expect(records.map(({ number }) => number)).toEqual(records.map((_, i) => i + 1));
    },
  );

  it('begins where whoever watches the patient says, also while they decide', async () => {
    const policy = policyOf(SCHEMA, { window: 5 });
    const patient = await enrolled(policy);
    const rows = rowsOf(10, 60);
    for (const [i, row] of rows.entries()) await take(i + 1, row);
    const books = new Bell();
    const suite = new ClearSuite();
    let asking: Promise<unknown> | undefined;
    suite.before = () => {
      if (suite.scores !== 20 || asking !== undefined) return;
      asking = ask().then(() => {
        books.ring();
      });
    };
    await run(patient, suite, { last: 60, books });
    await asking;
    const cut = (await store.books.read(PATIENT)).book.relearning?.after ?? 0;
    expect(cut).toBeGreaterThan(20);
    expect(cut).toBeLessThan(50);
    expect(await decided()).toEqual(expectedWithCut(rows, cut, policy));
  });

  it('follows by policy where an alarm has been active for so long', async () => {
    const policy = policyOf(SCHEMA, { window: 5, baseline: 'rolling', retrainEvery: 2 });
    const patient = await enrolled(policy);
    const rows = rowsOf(11, 80).map(([hr = 0n, spo2 = 0n], i) => [hr + (i < 30 ? 0n : 300n), spo2]);
    for (const [i, row] of rows.entries()) await take(i + 1, row);
    const levels = [{ level: 1, count: 8, of: 10 }];
    const alarms = alarmPolicy({ levels, rebaselineAfter: 12 });
    await run(patient, new ClearSuite(), { last: 80, alarms });
    const { book } = await store.books.read(PATIENT);
    const [first] = book.alarms;
    const cut = (first?.sequence ?? 0) + 12;
    expect(first?.sequence).toBeGreaterThan(37);
    expect(first?.clearedAt).toBeDefined();
    expect(book.relearning).toMatchObject({ after: cut, reason: 'policy', by: undefined });
    expect(await decided()).toEqual(expectedWithCut(rows, cut, policy));
    const reasons = (await store.models.records(PATIENT, 1000)).map(({ reason }) => reason);
    expect(reasons.filter((reason) => reason === 'policy')).toHaveLength(1);
  });
});
