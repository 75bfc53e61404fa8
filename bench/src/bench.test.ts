import { DEFAULT_CHANNELS } from '@duoveil/common/encoding';
import { createPortableEngine } from '@duoveil/common/modular';
import { SeededRandom } from '@duoveil/harness/local';
import { afterAll, describe, expect, test } from 'vitest';

import { valueOf } from './backlog.js';
import { bench } from './bench.js';
import { CountingEngine } from './counting-engine.js';
import { countSuite } from './counts.js';
import { load } from './load.js';
import { docsWithLoad, LOAD_MARKERS } from './load-tables.js';
import { median } from './median.js';
import { nameOf, sumOf, type Counts } from './operations.js';
import { parseBenchOptions } from './options.js';
import { samplesOf } from './patient.js';
import { timeOf } from './primitives.js';
import { seenBetween, type ProbeLine } from './probe-file.js';
import { ServerLog } from './server-log.js';
import { docsWith, MARKERS } from './tables.js';
import { memoryTrend, timesOf } from './timeline.js';
import { packedTranscript } from './transcripts.js';

const engine = createPortableEngine({ threads: 0 });
const modulus = 1_000_003n;

afterAll(() => engine.close());

function plain(counts: Counts): Record<string, number> {
  return Object.fromEntries([...counts].map(([name, { times }]) => [name, times]));
}

describe('the counting engine', () => {
  test('counts each operation by kind and size, and computes the same', async () => {
    const counting = new CountingEngine(engine);
    const [counted, uncounted] = [counting.ring(modulus), engine.ring(modulus)];
    const jobs = [
      { base: 2n, exponent: 2n ** 20n },
      { base: 3n, exponent: 5n },
    ];
    for (const [left, right] of [
      [counted.multiply(5n, 7n), uncounted.multiply(5n, 7n)],
      [
        await counted.products([[2n, 3n, 4n], [9n]]),
        await uncounted.products([[2n, 3n, 4n], [9n]]),
      ],
      [await counted.powers(jobs), await uncounted.powers(jobs)],
      [await counted.multiPowers([jobs, jobs]), await uncounted.multiPowers([jobs, jobs])],
      [await counted.inverses([2n, 3n]), await uncounted.inverses([2n, 3n])],
      [await counting.jacobi([2n, 3n], modulus), await engine.jacobi([2n, 3n], modulus)],
    ]) {
      expect(left).toEqual(right);
    }
    expect(plain(counting.take())).toEqual({
      mul_64: 1,
      product3_64: 1,
      exp_64_32: 1,
      exp_64_16: 1,
      multiexp2_64_32: 2,
      inverse2_64: 1,
      jacobi_64: 2,
    });
    expect(plain(counting.take())).toEqual({});
  });

  test('counts a table once, when it is first used', async () => {
    const counting = new CountingEngine(engine);
    const fixed = counting.ring(modulus).fixedProducts([2n, 3n], 24);
    expect(plain(counting.take())).toEqual({});
    expect(await fixed.products([[1n, 1n]])).toEqual([6n]);
    expect(plain(counting.take())).toEqual({ table2_64_24: 1, fixed2_64_24: 1 });
    await fixed.products([
      [1n, 2n],
      [3n, 4n],
    ]);
    expect(plain(counting.take())).toEqual({ fixed2_64_24: 2 });
  });
});

describe('the counts', () => {
  const schema = { channels: DEFAULT_CHANNELS.slice(0, 2) };
  const [sample = [], ...window] = samplesOf(schema, 5);
  const script = { bits: 512, schema, window, sample } as const;

  test('of a packed score are those of the protocol', async () => {
    const counts = await countSuite('packed', script, engine);
    const score = plain(counts.score);
    const times = (pattern: RegExp): number =>
      Object.entries(score)
        .filter(([name]) => pattern.test(name))
        .reduce((sum, [, count]) => sum + count, 0);
    // Two products over five features, an opening of as many requests as there are and one of the
    // answer, each of two halves; nothing that is made once for a model.
    expect(times(/^fixed5_/)).toBe(2);
    expect(times(/^exp_/) % 2).toBe(0);
    expect(times(/^exp_/)).toBeGreaterThanOrEqual(4);
    expect(times(/^table/)).toBe(0);
    expect(plain(counts.train)).toHaveProperty('table_1024_512', 1);
  });

  test('come from a transcript with the same result, counted or not', async () => {
    const scored = async (over: Parameters<typeof packedTranscript>[1]) => {
      const transcript = await packedTranscript(script, over, new SeededRandom('bench'));
      await transcript.train();
      return transcript.score();
    };
    const result = await scored(engine);
    expect(result).toBeDefined();
    expect(await scored(new CountingEngine(engine))).toEqual(result);
  });
});

describe('the floor', () => {
  const operation = {
    kind: 'power',
    modulus,
    modulusBits: 20,
    exponentBits: 16,
    terms: 1,
  } as const;

  test('is each count times its time', () => {
    const counts = new Map([
      ['a', { operation, times: 3 }],
      ['b', { operation, times: 2 }],
    ]);
    const times = new Map([
      ['a', 0.5],
      ['b', 10],
    ]);
    expect(sumOf(counts, times)).toBe(21.5);
    expect(sumOf(new Map(), times)).toBe(0);
  });

  test('needs a time for everything that was counted', () => {
    expect(() => sumOf(new Map([['a', { operation, times: 1 }]]), new Map())).toThrow(
      'a was counted',
    );
  });

  test('every kind of operation can be timed', async () => {
    const patience = { milliseconds: 0, least: 1, most: 1 };
    const kinds = [
      'multiply',
      'product',
      'power',
      'multiPower',
      'inverses',
      'table',
      'fixed',
      'jacobi',
    ] as const;
    for (const kind of kinds) {
      const time = await timeOf({ ...operation, kind }, engine, new SeededRandom(kind), patience);
      expect(time, kind).toBeGreaterThanOrEqual(0);
    }
  });
});

test('operations have names', () => {
  expect(nameOf({ kind: 'power', modulusBits: 4096, exponentBits: 1024, terms: 1 })).toBe(
    'exp_4096_1024',
  );
  expect(nameOf({ kind: 'fixed', modulusBits: 4096, exponentBits: 94, terms: 14 })).toBe(
    'fixed14_4096_94',
  );
  expect(nameOf({ kind: 'jacobi', modulusBits: 2048, exponentBits: 0, terms: 1 })).toBe(
    'jacobi_2048',
  );
});

test('a median is the middle', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(() => median([])).toThrow(RangeError);
});

test('what probes saw is summed up for one process and a time', () => {
  const line = (at: number, stalledMs: number, pid = 1): ProbeLine => ({
    pid,
    at,
    stalledMs,
    heldMs: stalledMs - 1,
    ranMs: stalledMs - 2,
    rssBytes: 1000 + at,
    cpuMs: 10 * at,
    mainThreadCpuMs: at,
  });
  const lines = [line(0, 90), line(1, 5), line(2, 50, 2), line(3, 7), line(4, 80)];
  expect(seenBetween(lines, 1, 1, 3)).toEqual({
    cpuMs: 20,
    mainThreadCpuMs: 2,
    rssBytes: 1003,
    stalledMs: 7,
    heldMs: 6,
    ranMs: 5,
  });
});

test.each([
  [{ keyBits: '1000' }, /--key-bits/],
  [{ keyBits: '512' }, /not secure/],
  [{ window: '3' }, /--window/],
  [{ suite: 'fast' }, /--suite/],
  [{ engine: 'steam' }, /--engine/],
  [{ load: true, patients: '0' }, /--patients/],
  [{ load: true, soak: '10' }, /--soak/],
  [{ rate: '2' }, /--rate: goes with --load/],
])('refuses %j', (values, message) => {
  expect(() => parseBenchOptions(values)).toThrow(message);
});

test('a ward is of 100 patients at 1 Hz for ten minutes, with windows of a minute', () => {
  expect(parseBenchOptions({ load: true })).toMatchObject({
    window: 60,
    load: { patients: 100, rate: 1, seconds: 600 },
  });
  expect(parseBenchOptions({})).toMatchObject({ window: 20, load: undefined });
});

test('times are summed up by the nearest rank', () => {
  const values = Array.from({ length: 200 }, (_, i) => 200 - i);
  expect(timesOf(values)).toEqual({ p50: 100, p95: 190, p99: 198, max: 200 });
  expect(timesOf([7])).toEqual({ p50: 7, p95: 7, p99: 7, max: 7 });
  expect(timesOf([])).toEqual({ p50: 0, p95: 0, p99: 0, max: 0 });
});

test('memory has a trend', () => {
  const look = (minute: number, mebibytes: number) => ({
    at: 1e12 + minute * 60_000,
    rssBytes: mebibytes * 2 ** 20,
  });
  const rising = [look(0, 100), look(1, 102), look(2, 104), look(3, 106)];
  expect(memoryTrend(rising)).toEqual({
    firstHalfMiB: 101,
    secondHalfMiB: 105,
    mostMiB: 106,
    slopeMiBPerMinute: 2,
  });
  const flat = [look(0, 100), look(1, 104), look(2, 104), look(3, 100)];
  expect(memoryTrend(flat)).toMatchObject({ mostMiB: 104, slopeMiBPerMinute: 0 });
  expect(() => memoryTrend([look(0, 100)])).toThrow(RangeError);
});

test("a metric's value is found with or without its unit", () => {
  const text = [
    '# HELP duoveil_lag_seconds how far behind',
    'duoveil_lag_seconds 0.25',
    'duoveil_samples_total 90',
    'duoveil_samples_pending{a="b c"} 3 1700000000000',
  ].join('\n');
  expect(valueOf(text, 'duoveil_lag')).toBe(0.25);
  expect(valueOf(text, 'duoveil_samples_pending')).toBe(3);
  expect(() => valueOf(text, 'duoveil_samples')).toThrow(RangeError);
});

test("servers' warnings are passed on, and where their metrics are is kept", () => {
  const noticed: string[] = [];
  const log = new ServerLog((line) => noticed.push(line));
  const warning = '{"level":"warn","message":"slow","service":"sp"}';
  log.read('{"level":"info","message":"metrics","service":"sp","address":"127.0.0.1:1"}');
  log.read('{"level":"info","message":"baseline trained","service":"sp"}');
  log.read(warning);
  log.read('a trace of a crash');
  expect(noticed).toEqual([warning, 'a trace of a crash']);
  expect([...log.metrics]).toEqual([['sp', '127.0.0.1:1']]);
});

describe('a small ward', { timeout: 120_000 }, () => {
  test('gets every decision, is trained on the way, and is measured', async () => {
    const values = { keyBits: '512', insecureKeyBits: true, window: '6', load: true } as const;
    const options = parseBenchOptions(values);
    const plan = { patients: 3, rate: 4, seconds: 2 };
    const result = await load(options, plan, () => undefined, new AbortController().signal);
    const number = expect.any(Number) as number;
    const times = { p50: number, p95: number, p99: number, max: number };
    const memory = {
      ...{ firstHalfMiB: number, secondHalfMiB: number },
      ...{ mostMiB: number, slopeMiBPerMinute: number },
    };
    expect(JSON.parse(JSON.stringify(result))).toMatchObject({
      ...{ keyBits: 512, window: 6 },
      load: {
        ...plan,
        ...{ retrainEvery: 12, decisions: 24, missing: 0, unscored: 0 },
        trainings: number,
        ...{ trainMs: times, decisionMs: times, fromDueMs: times },
        deepestBacklog: { lagMs: number, samples: number },
        ...{ sp: { cores: number, memory }, csp: { cores: number, memory } },
        gateways: { cores: number },
      },
    });
    const { decisionMs, fromDueMs, levels, trainings } = result.load;
    // The second of the three is due for one, and is not at its end.
    expect(trainings).toBeGreaterThanOrEqual(1);
    expect(Object.values(levels).reduce((sum, count) => sum + count, 0)).toBe(24);
    expect(decisionMs.p50).toBeGreaterThan(0);
    expect(fromDueMs.max).toBeGreaterThanOrEqual(decisionMs.max);
    const document = `a\n${LOAD_MARKERS.begin}\nold\n${LOAD_MARKERS.end}\nz`;
    expect(docsWithLoad(document, result)).toMatch(/^a\n[^]*3 patients at 4 Hz[^]*\nz$/);
  });
});

describe('a small run', { timeout: 300_000 }, () => {
  test('measures both suites and prints what is promised', async () => {
    const options = parseBenchOptions({
      keyBits: '512',
      insecureKeyBits: true,
      window: '6',
      seconds: '1',
    });
    const extent = {
      trainings: { warmUp: 1, measured: 1 },
      scores: { warmUp: 1, measured: 3 },
      patients: 2,
      underWay: 2,
      referenceScores: { warmUp: 0, measured: 1 },
    };
    const result = await bench(options, () => undefined, new AbortController().signal, extent);
    const number = expect.any(Number) as number;
    const load = {
      cpuMsPerScore: number,
      mainThreadMsPerScore: number,
      rssMiB: number,
      eventLoopRanMs: number,
      eventLoopHeldMs: number,
      eventLoopStalledMs: number,
    };
    expect(JSON.parse(JSON.stringify(result))).toMatchObject({
      machine: {
        ...{ cores: number, memoryGiB: number, node: process.version, load: number },
        arithmetic: expect.stringContaining(result.engine) as string,
      },
      keyBits: 512,
      window: 6,
      suites: {
        reference: { trainMs: number, scoreMs: number },
        packed: { trainMs: number, scoreMs: number, scoresPerSecond: number },
        packedLevel: { trainMs: number, scoreMs: number, scoresPerSecond: number },
      },
      primitives: { exp_1024_256: number },
      floorMs: { train: number, score: number, referenceTrain: number, referenceScore: number },
      throughput: {
        ...{ patients: 2, sp: load, csp: load },
        level: { patients: 2, sp: load, csp: load },
      },
    });
    expect(['native', 'portable']).toContain(result.engine);
    // Every operation that was counted was timed.
    for (const steps of Object.values(result.counts)) {
      for (const counts of Object.values(steps)) {
        expect(Object.keys(result.primitives)).toEqual(expect.arrayContaining(Object.keys(counts)));
      }
    }
    expect(docsWith(`a\n${MARKERS.begin}\nold\n${MARKERS.end}\nz`, [result])).toMatch(
      /^a\n[^]*512[^]*\nz$/,
    );
  });
});
