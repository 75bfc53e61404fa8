import { DEFAULT_CHANNELS } from '@duoveil/common/encoding';
import { createPortableEngine } from '@duoveil/common/modular';
import { SeededRandom } from '@duoveil/harness/local';
import { afterAll, describe, expect, test } from 'vitest';

import { bench } from './bench.js';
import { CountingEngine } from './counting-engine.js';
import { countSuite } from './counts.js';
import { median } from './median.js';
import { nameOf, sumOf, type Counts } from './operations.js';
import { parseBenchOptions } from './options.js';
import { samplesOf } from './patient.js';
import { timeOf } from './primitives.js';
import { seenBetween, type ProbeLine } from './probe-file.js';
import { docsWith, MARKERS } from './tables.js';
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
])('refuses %j', (values, message) => {
  expect(() => parseBenchOptions(values)).toThrow(message);
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
