import { createHash } from 'node:crypto';
import { DEFAULT_QUANTILE, scaledThreshold, selectChannels } from '@duoveil/common/encoding';
import { describe, expect, it } from 'vitest';
import { replay } from '../oracle/index.js';
import { SCENARIO_NAMES, VITAL_SIGNS } from './scenarios.js';
import type { Scenario } from './scenarios.js';
import { simulate, toCsv } from './simulate.js';
import type { SimulationOptions } from './simulate.js';

const seeds = Array.from(
  { length: process.env['DUOVEIL_LONG_TESTS'] === '1' ? 200 : 10 },
  (_, i) => i,
);

/** Of the rows with a label that were scored, the fraction that was flagged, over all seeds. */
function flagged(
  scenario: Scenario,
  label: 'calm' | 'event',
  baseline: 'fixed' | 'rolling' = 'fixed',
): number {
  const schema = selectChannels(VITAL_SIGNS);
  const thresholdScaled = scaledThreshold(DEFAULT_QUANTILE, 4);
  const policy = { window: 60, baseline, retrainEvery: 10, thresholdScaled };
  let [outliers, scored] = [0, 0];
  for (const seed of seeds) {
    const { rows, truth } = simulate({ seed, rows: 400, scenario });
    for (const result of replay(rows, schema, policy)) {
      if (!('outlier' in result) || truth[result.index] !== label) continue;
      scored += 1;
      outliers += result.outlier ? 1 : 0;
    }
  }
  expect(scored).toBeGreaterThan(0);
  return outliers / scored;
}

describe('simulate', () => {
  it('is the same everywhere: the digest of every scenario', () => {
    const digest = (scenario: Scenario) => {
      const csv = toCsv(simulate({ seed: 42, rows: 600, scenario, decimals: 1 }));
      return createHash('sha256').update(csv).digest('hex').slice(0, 16);
    };
    expect(Object.fromEntries(SCENARIO_NAMES.map((name) => [name, digest(name)]))).toEqual({
      calm: 'a4249018b604b3e3',
      drift: '3e4adfa3c4cbda5d',
      exercise: '6a7bf38e5dbde8ee',
      artefact: '80dd1b116f30ad74',
      dropout: '29180cd19d85011f',
      deterioration: 'aaf0d38cf53e5cba',
    });
  });

  it('depends on the seed', () => {
    const csv = (seed: number) => toCsv(simulate({ seed, rows: 50, scenario: 'calm' }));
    expect(csv(1)).toBe(csv(1));
    expect(csv(1)).not.toBe(csv(2));
  });

  it.each(SCENARIO_NAMES)('is plausible: %s', (scenario) => {
    for (const seed of seeds) {
      const { rows, truth } = simulate({ seed, rows: 400, scenario });
      expect(rows).toHaveLength(400);
      expect(truth).toHaveLength(400);
      rows.forEach(({ index, cells, seconds }, i) => {
        expect([index, seconds]).toEqual([i, i]);
        const missing = Object.values(cells).includes(undefined);
        expect(missing).toBe(truth[i] === 'missing');
        if (missing) return;
        const [HR, PULSE, RESP, SpO2] = VITAL_SIGNS.map((name) => Number(cells[name]));
        const calm = truth[i] === 'calm';
        expect(HR).toSatisfy((x: number) => x >= (calm ? 55 : 25) && x <= (calm ? 115 : 150));
        expect(RESP).toSatisfy((x: number) => x >= 8 && x <= 40);
        expect(SpO2).toSatisfy((x: number) => x >= (calm ? 92 : 75) && x <= 100);
        const apart = Math.abs((PULSE ?? 0) - (HR ?? 0));
        if (scenario !== 'artefact' || calm) expect(apart).toBeLessThanOrEqual(3);
      });
    }
  });

  it('changes from row to row as patients do: slowly', () => {
    const { rows } = simulate({ seed: 3, rows: 2000, scenario: 'calm', decimals: 1 });
    const rates = rows.map(({ cells }) => Number(cells['HR']));
    const mean = rates.reduce((sum, x) => sum + x, 0) / rates.length;
    const product = (lag: number) =>
      rates.slice(lag).reduce((sum, x, i) => sum + (x - mean) * ((rates[i] ?? 0) - mean), 0);
    expect(product(1) / product(0)).toBeGreaterThan(0.85);
    expect(product(0) / rates.length).toBeGreaterThan(0.8);
    expect(product(200) / product(0)).toBeLessThan(0.4);
  });

  it('begins calm in every scenario but drift, with the same patient', () => {
    const calm = simulate({ seed: 5, rows: 400, scenario: 'calm' });
    for (const scenario of SCENARIO_NAMES.filter((name) => name !== 'drift')) {
      const { rows, truth } = simulate({ seed: 5, rows: 400, scenario });
      expect(rows.slice(0, 100)).toEqual(calm.rows.slice(0, 100));
      expect(new Set(truth.slice(0, 100))).toEqual(new Set(['calm']));
    }
  });

  it('selects channels without changing their values, and labels what they show', () => {
    const all = simulate({ seed: 9, rows: 400, scenario: 'artefact' });
    const some = simulate({ seed: 9, rows: 400, scenario: 'artefact', channels: ['RESP', 'HR'] });
    expect(some.header).toEqual(['Time [s]', 'RESP', 'HR']);
    expect(some.rows.map(({ cells }) => [cells['RESP'], cells['HR']])).toEqual(
      all.rows.map(({ cells }) => [cells['RESP'], cells['HR']]),
    );
    expect(Object.keys(some.rows[0]?.cells ?? {})).toEqual(['RESP', 'HR']);
    expect(all.truth).toContain('event');
    expect(some.truth).not.toContain('event');
  });

  it('writes CSV as monitors do', () => {
    const lines = toCsv(simulate({ seed: 1, rows: 300, scenario: 'dropout' })).split('\n');
    expect(lines[0]).toBe('Time [s],HR,PULSE,RESP,SpO2');
    expect(lines).toHaveLength(302);
    expect(lines.at(-1)).toBe('');
    for (const line of lines.slice(1, -1)) expect(line).toMatch(/^\d+(,(\d+|NaN)){4}$/);
    expect(lines.join()).toContain('NaN');
  });

  it.each<[string, Partial<SimulationOptions>]>([
    ['seed', { seed: -1 }],
    ['seed', { seed: 0.5 }],
    ['rows', { rows: 0 }],
    ['scenario', { scenario: 'panic' as Scenario }],
    ['scenario', { scenario: 'toString' as Scenario }],
    ['channels', { channels: [] }],
    ['channels', { channels: ['HR', 'HR'] }],
    ['channels', { channels: ['HR', 'ABP'] }],
    ['decimals', { decimals: 2 as 1 }],
  ])('refuses a bad %s: %j', (option, change) => {
    expect(() => simulate({ seed: 1, rows: 10, scenario: 'calm', ...change })).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', details: { option } }),
    );
  });
});

describe('the ground truth, seen by the exact distance', () => {
  it('calm rows are rarely flagged', () => {
    expect(flagged('calm', 'calm')).toBeLessThan(0.01);
    expect(flagged('artefact', 'calm')).toBeLessThan(0.01);
    expect(flagged('dropout', 'calm')).toBeLessThan(0.01);
  });

  it('events mostly are', () => {
    expect(flagged('deterioration', 'event')).toBeGreaterThan(0.85);
    expect(flagged('exercise', 'event')).toBeGreaterThan(0.85);
    expect(flagged('artefact', 'event')).toBeGreaterThan(0.95);
  });

  it('drift takes a rolling baseline', () => {
    expect(flagged('drift', 'calm', 'rolling')).toBeLessThan(0.02);
    expect(flagged('drift', 'calm', 'fixed')).toBeGreaterThan(0.1);
  });
});
