import {
  DEFAULT_QUANTILE,
  isOutlier,
  quantiseRow,
  scaledThreshold,
  scaleOf,
  selectChannels,
  toNumber,
} from '@duoveil/common/encoding';
import { describe, expect, it } from 'vitest';
import {
  EXPECTED_CONFIGURATIONS,
  listRecordings,
  readExpected,
  readRecording,
} from '../recordings.js';
import type { ExpectedConfiguration, Recording } from '../recordings.js';
import { SCENARIO_NAMES, simulate } from '../simulation/index.js';
import { exactMd2 } from './model.js';
import { replay } from './replay.js';
import type { ReplayPolicy, ReplayResult, ReplayRow } from './replay.js';

const schema = selectChannels(['HR', 'PULSE', 'RESP', 'SpO2']);
const thresholdScaled = scaledThreshold(DEFAULT_QUANTILE, 4);
const configurations = Object.keys(EXPECTED_CONFIGURATIONS) as ExpectedConfiguration[];

/** A result as the files with expected results have it. */
function published(result: ReplayResult) {
  if ('learning' in result) return result;
  if ('skipped' in result) return { index: result.index, skipped: true };
  return { index: result.index, md2: result.md2, outlier: result.outlier };
}

const recordings = listRecordings();
const cases = (recordings ?? []).flatMap((recording) =>
  configurations
    .filter((configuration) => readExpected(recording, configuration) !== undefined)
    .map((configuration): [string, ExpectedConfiguration, Recording] => [
      recording.id,
      configuration,
      recording,
    ]),
);

describe.skipIf(recordings === undefined)(
  'replaying the shared recordings (skipped where ../shared/data is absent)',
  () => {
    it('has expected results to compare with', () => {
      expect(recordings).toHaveLength(30);
      expect(cases).toHaveLength(24);
    });

    it.each(cases)('gives every expected double: %s, %s', (_, configuration, recording) => {
      const policy = { ...EXPECTED_CONFIGURATIONS[configuration], thresholdScaled };
      const results = replay(readRecording(recording), schema, policy).map(published);
      expect(results).toEqual(readExpected(recording, configuration));
    });
  },
);

/** The semantics once more, from the definition: the window of each row is sought from scratch. */
function slowly(rows: readonly ReplayRow[], policy: ReplayPolicy) {
  const F = schema.channels.map((channel) => scaleOf(channel).F);
  const decided: { index: number; sample: readonly bigint[]; outlier: boolean }[] = [];
  return rows.map((row, index) => {
    const quantised = quantiseRow(schema, row.cells);
    if ('skipped' in quantised) return { index, skipped: true };
    const sample = quantised.complete;
    const accepted = decided.filter(({ outlier }) => !outlier);
    let outlier = false;
    let result: object = { index, learning: true };
    if (accepted.length >= policy.window) {
      const surplus = policy.baseline === 'fixed' ? 0 : accepted.length - policy.window;
      const offset = surplus - (surplus % Math.max(1, policy.retrainEvery));
      const window = accepted.slice(offset, offset + policy.window).map((entry) => entry.sample);
      const md2 = exactMd2(window, sample, F);
      outlier = isOutlier(md2, policy.thresholdScaled);
      result = { index, md2: toNumber(md2), outlier };
    }
    decided.push({ index, sample, outlier });
    return result;
  });
}

describe('replay', () => {
  it.each(SCENARIO_NAMES)('keeps to the definition of the monitor: %s', (scenario) => {
    const { rows } = simulate({ seed: 7, rows: 150, scenario, decimals: 1 });
    for (const baseline of ['fixed', 'rolling'] as const) {
      const policy = { window: 20, baseline, retrainEvery: 3, thresholdScaled };
      expect(replay(rows, schema, policy).map(published)).toEqual(slowly(rows, policy));
    }
  });

  it('counts rows from 0, and skipped ones nowhere else', () => {
    const row = (HR: number, RESP: string) => ({ cells: { HR, RESP } });
    const rows = [row(70, '15'), row(70, 'NaN'), row(71, '15'), row(70, '16'), row(71, '16')];
    const two = selectChannels(['HR', 'RESP']);
    const policy = { window: 4, baseline: 'fixed', retrainEvery: 0, thresholdScaled } as const;
    const results = replay([...rows, row(400, '15'), row(140, '15'), row(70, '15')], two, policy);
    expect(results.map((result) => ({ ...result, exact: undefined, md2: undefined }))).toEqual([
      { index: 0, learning: true },
      { index: 1, skipped: 'RESP is missing' },
      { index: 2, learning: true },
      { index: 3, learning: true },
      { index: 4, learning: true },
      { index: 5, skipped: 'HR is out of range [20, 300]' },
      { index: 6, outlier: true },
      { index: 7, outlier: false },
    ]);
  });
});
