/** Level output through all parties, as processes of their own: levels, statistics, refusals. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import {
  DEFAULT_LEVEL_QUANTILES,
  isOutlier,
  makeRational,
  packingPlan,
  quantiseRow,
  scaledThreshold,
  scaleOf,
  selectChannels,
  toNumber,
} from '@duoveil/common/encoding';
import { parsePatientId } from '@duoveil/common/runtime';
import { csvSource } from '@duoveil/gateway/parts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { replay } from '../src/oracle/index.js';
import { Servers } from '../src/parties/servers.js';
import { listRecordings } from '../src/recordings.js';
import { parseEvent, type RowEvent } from '../src/run/events.js';
import { simulate, toCsv } from '../src/simulation/index.js';

const CHANNELS = ['HR', 'PULSE', 'RESP', 'SpO2'];
const KEY_BITS = 512;
const WINDOW = 20;
const ROWS = 40;
const schema = selectChannels(CHANNELS);
const thresholds = DEFAULT_LEVEL_QUANTILES.map((q) => scaledThreshold(q, CHANNELS.length));

const duoveil = fileURLToPath(new URL('../../cli/bin/duoveil.js', import.meta.url));
const gatewayMain = createRequire(import.meta.url).resolve('@duoveil/gateway/main');

interface Ended {
  readonly code: number | null;
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
}

async function node(
  programme: string,
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const child = spawn(process.execPath, [programme, ...words], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stdout: string[] = [];
  const stderr: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => stdout.push(line));
  createInterface({ input: child.stderr }).on('line', (line) => stderr.push(line));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

let directory: string;
let inputs: string[];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-levels-'));
  inputs = (listRecordings() ?? []).slice(0, 2).map(({ path }) => path);
  // Where there are no recordings: a patient who deteriorates soon after the window, and a calm one.
  for (const [scenario, from] of [
    ['deterioration', 86],
    ['calm', 0],
  ] as const) {
    if (inputs.length === 2) break;
    const simulation = simulate({ seed: 20, rows: 240, scenario });
    const path = join(directory, `${scenario}.csv`);
    const rows = simulation.rows.slice(from, from + ROWS);
    await writeFile(path, toCsv({ ...simulation, rows }));
    inputs.push(path);
  }
  // The end of the rows is out of the ordinary whatever the beginning was.
  inputs[1] = await withExtremeRow(inputs[1] ?? '');
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** A copy whose last row that is run has the least of everything: far from any baseline. */
async function withExtremeRow(path: string): Promise<string> {
  const [header = '', ...lines] = (await readFile(path, 'utf8')).split('\n');
  const names = header.split(',').map((name) => name.trim());
  const extreme = names.map((name) => (CHANNELS.includes(name) ? '30' : '1')).join(',');
  const copy = join(directory, 'extreme.csv');
  await writeFile(copy, [header, ...lines.slice(0, ROWS - 1), extreme, ''].join('\n'));
  return copy;
}

async function cellsOf(path: string) {
  const rows = [];
  for await (const row of csvSource({ path, channels: CHANNELS, limit: ROWS })) rows.push(row);
  return rows;
}

describe('duoveil run with level output', () => {
  it('fits the modulus of these tests with the usual channels', () => {
    const plan = packingPlan(schema, WINDOW, KEY_BITS, thresholds);
    expect(plan.level?.thresholds).toEqual(thresholds);
    expect(() => packingPlan(schema, WINDOW, KEY_BITS - 128, thresholds)).toThrow(
      expect.objectContaining({ code: 'BOUNDS_EXCEEDED' }),
    );
  });

  it.each([0, 1])('gives the levels of exact arithmetic for every row: input %i', async (which) => {
    const input = inputs[which] ?? '';
    const { code, stdout, stderr } = await node(duoveil, [
      ...['run', '--json', '--output', 'level', '--input', input],
      ...['--key-bits', String(KEY_BITS), '--insecure-key-bits'],
      ...['--window', String(WINDOW), '--limit', String(ROWS)],
    ]);
    expect(stderr.join('\n')).not.toContain('error');
    expect(code).toBe(0);
    const events = stdout.map(parseEvent);
    const rows = events.filter((event): event is RowEvent => !('summary' in event));
    const policy = {
      window: WINDOW,
      baseline: 'fixed' as const,
      retrainEvery: 0,
      thresholdScaled: thresholds[0] ?? 0n,
    };
    const expected = replay(await cellsOf(input), schema, policy).map((wanted) => {
      if (!('outlier' in wanted)) return { index: wanted.index, kind: Object.keys(wanted)[1] };
      const level = thresholds.filter((threshold) => isOutlier(wanted.exact, threshold)).length;
      return { index: wanted.index, level, outlier: wanted.outlier };
    });
    const found = rows.map((row) =>
      'outlier' in row
        ? { index: row.index, level: row.level, outlier: row.outlier }
        : { index: row.index, kind: Object.keys(row)[1] },
    );
    expect(found).toEqual(expected);
    expect(rows.filter((row) => 'outlier' in row)).toHaveLength(ROWS - WINDOW);
    expect(rows.some((row) => 'md2' in row)).toBe(false);
    if (which === 1) expect(found.at(-1)).toMatchObject({ level: 3, outlier: true });
    expect(events.at(-1)).toMatchObject({ summary: { output: 'level', suite: 'packed' } });
  });
});

describe('servers without distance output', () => {
  let servers: Servers;
  const passphrase = 'a passphrase of the tests';
  beforeAll(async () => {
    servers = await Servers.prepare({
      directory,
      keyBits: KEY_BITS,
      generator: 'residue',
      engine: 'auto',
      allowDistance: false,
      logLevel: 'error',
      onLog: () => undefined,
    });
    await servers.setUp();
    await servers.startCsp();
    await servers.startSp();
  });
  afterAll(async () => {
    await servers.stop();
  });

  async function gatewayOf(name: string) {
    const tls = await servers.issueGateway(parsePatientId(name, 'patient'));
    const connection = [
      ...['--sp', servers.address, '--tls', tls],
      ...['--state', join(directory, name, 'state')],
    ];
    const environment = { DUOVEIL_GATEWAY_PASSPHRASE: passphrase };
    return {
      run: (command: string, words: readonly string[] = [], more: Record<string, string> = {}) =>
        node(gatewayMain, [command, ...connection, ...words], { ...environment, ...more }),
      enrol: (words: readonly string[]) =>
        node(
          gatewayMain,
          [
            ...['enrol', ...connection, '--parameters-digest', servers.digest],
            ...['--insecure-key-bits', '--window', String(WINDOW), ...words],
          ],
          environment,
        ),
    };
  }

  it.each(['packed', 'reference'])(
    'refuse a patient whose policy is distance, in the %s suite, and say why',
    async (suite) => {
      const gateway = await gatewayOf(`distance-${suite}`);
      const { code, stderr } = await gateway.enrol(['--suite', suite, '--output', 'distance']);
      expect(code).not.toBe(0);
      expect(stderr.join('\n')).toContain('OUTPUT_NOT_ALLOWED');
      expect(stderr.join('\n')).toContain('--allow-distance');
    },
  );

  it('give a patient the exact mean and covariance of the window, to nobody else', async () => {
    const gateway = await gatewayOf('statistics-1');
    expect(await gateway.enrol([])).toMatchObject({ code: 0 });

    const early = await gateway.run('statistics', ['--json']);
    expect(early.code).not.toBe(0);
    expect(early.stderr.join('\n')).toContain('NOT_READY');
    expect(early.stdout).toEqual([]);

    const input = inputs[0] ?? '';
    const limit = ['--input', input, '--limit', String(ROWS), '--json'];
    expect(await gateway.run('stream', limit)).toMatchObject({ code: 0 });

    const wrong = await gateway.run('statistics', ['--json'], {
      DUOVEIL_GATEWAY_PASSPHRASE: 'another passphrase',
    });
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr.join('\n')).toContain('UNSEALING_FAILED');
    expect(wrong.stdout).toEqual([]);

    const { code, stdout } = await gateway.run('statistics', ['--json']);
    expect(code).toBe(0);
    expect(stdout).toHaveLength(1);
    const statistics = JSON.parse(stdout[0] ?? '') as {
      readonly model: number;
      readonly throughSequence: number;
      readonly window: number;
      readonly channels: readonly string[];
      readonly mean: readonly number[];
      readonly covariance: readonly (readonly number[])[];
    };
    expect(statistics).toMatchObject({ model: 1, window: WINDOW, channels: CHANNELS });
    expect(statistics.throughSequence).toBe(WINDOW);
    const exact = exactMoments(await cellsOf(input));
    const near = (found: number | undefined, wanted: number) => {
      const error = Math.abs((found ?? NaN) - wanted);
      expect(error <= 1e-12 * Math.max(Math.abs(wanted), 1e-300) || error === 0).toBe(true);
    };
    expect(statistics.mean).toHaveLength(CHANNELS.length);
    exact.mean.forEach((wanted, j) => {
      near(statistics.mean[j], wanted);
    });
    expect(statistics.covariance.map((row) => row.length)).toEqual(CHANNELS.map(() => 4));
    exact.covariance.forEach((row, j) => {
      row.forEach((wanted, k) => {
        near(statistics.covariance[j]?.[k], wanted);
      });
    });
    // Something moved: these are no statistics of nothing.
    expect(exact.covariance.some((row, j) => (row[j] ?? 0) > 0)).toBe(true);
  });
});

/** Mean and covariance of the first complete rows of the window, in exact rationals. */
function exactMoments(rows: Awaited<ReturnType<typeof cellsOf>>): {
  mean: number[];
  covariance: number[][];
} {
  const samples = rows
    .flatMap(({ cells }) => {
      const row = quantiseRow(schema, cells);
      return 'complete' in row ? [row.complete] : [];
    })
    .slice(0, WINDOW);
  const n = BigInt(WINDOW);
  const column = (j: number) => samples.map((sample) => sample[j] ?? 0n);
  const total = (values: readonly bigint[]) => values.reduce((sum, value) => sum + value, 0n);
  const scales = schema.channels.map((channel) => scaleOf(channel));
  return {
    mean: scales.map(({ min, resolution }, j) => {
      const scale = 10n ** BigInt(min.scale + resolution.scale);
      const offset = min.units * 10n ** BigInt(resolution.scale) * n;
      const moved = resolution.units * 10n ** BigInt(min.scale) * total(column(j));
      return toNumber(makeRational(offset + moved, scale * n));
    }),
    covariance: scales.map((left, j) =>
      scales.map((right, k) => {
        // Around n·mean, and so without a fraction: Σ (n·x - Σx)(n·y - Σy) = n²(n-1)·S.
        const [x, y] = [column(j), column(k)];
        const products = x.map(
          (value, i) => (n * value - total(x)) * (n * (y[i] ?? 0n) - total(y)),
        );
        const units = left.resolution.units * right.resolution.units;
        const scale = 10n ** BigInt(left.resolution.scale + right.resolution.scale);
        return toNumber(makeRational(units * total(products), n * n * (n - 1n) * scale));
      }),
    ),
  };
}
