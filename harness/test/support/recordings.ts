/** Recordings with their exact results: real ones, or simulated ones where the data is not there. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  DEFAULT_CHANNELS,
  DEFAULT_QUANTILE,
  parsePolicy,
  scaledThreshold,
} from '@duoveil/common/encoding';
import { expect } from 'vitest';

import { replay } from '../../src/oracle/index.js';
import {
  EXPECTED_CONFIGURATIONS,
  findRecording,
  readExpected,
  readRecording,
} from '../../src/recordings.js';
import type { ExpectedConfiguration, ExpectedRow, Recording } from '../../src/recordings.js';
import type { RowEvent } from '../../src/run/events.js';
import { simulate, toCsv } from '../../src/simulation/index.js';

/** A recording by its number; where the data is not there, a simulated patient in a directory. */
export function recording(id: string, directory: string): Recording {
  const found = findRecording(id);
  if (found !== undefined) return found;
  const path = join(directory, `simulated-${id}.csv`);
  const simulation = simulate({ seed: Number(id), rows: 481, scenario: 'deterioration' });
  writeFileSync(path, toCsv(simulation));
  return { id, path };
}

/** The exact results of a recording in one of the standard configurations. */
export function expectedOf(
  recording: Recording,
  configuration: ExpectedConfiguration,
): readonly ExpectedRow[] {
  const expected = readExpected(recording, configuration);
  return expected ?? exactly(recording, EXPECTED_CONFIGURATIONS[configuration]);
}

/** What decides results: channels by name, and how they are watched. */
export interface Configuration {
  readonly channels?: readonly string[];
  readonly window: number;
  readonly baseline: 'fixed' | 'rolling';
  readonly retrainEvery: number;
}

/** The exact results of a recording by the oracle. */
export function exactly(
  recording: Recording,
  { channels, ...configuration }: Configuration,
): readonly ExpectedRow[] {
  const schema = {
    channels: DEFAULT_CHANNELS.filter(({ name }) => channels?.includes(name) ?? true),
  };
  const policy = parsePolicy(
    {
      ...configuration,
      thresholdScaled: scaledThreshold(DEFAULT_QUANTILE, schema.channels.length),
      suite: 'reference',
      output: 'distance',
    },
    schema,
    'the test',
  );
  return replay(readRecording(recording), schema, policy).map((row) => {
    if ('skipped' in row) return { index: row.index, skipped: true };
    return 'learning' in row
      ? { index: row.index, learning: true }
      : { index: row.index, md2: row.md2, outlier: row.outlier };
  });
}

/** Each row as expected, once and in order: the same decision, the same distance where it is told. */
export function expectRows(rows: readonly RowEvent[], expected: readonly ExpectedRow[]): void {
  expect(rows.map(({ index }) => index)).toEqual(expected.map(({ index }) => index));
  rows.forEach((row, i) => {
    const wanted = expected[i];
    if (wanted === undefined || !('outlier' in wanted)) {
      if (wanted !== undefined && 'skipped' in wanted) {
        expect(row).toEqual({ index: i, skipped: expect.any(String) as string });
      } else expect(row).toEqual({ index: i, learning: true });
      return;
    }
    const result = { index: i, outlier: wanted.outlier, latencyMs: expect.any(Number) as number };
    if ('level' in row) {
      expect(row).toEqual({ ...result, level: expect.any(Number) as number });
      expect((row.level ?? 0) > 0).toBe(wanted.outlier);
      return;
    }
    expect(row).toEqual({ ...result, md2: expect.any(Number) as number });
    const found = 'md2' in row ? row.md2 : undefined;
    // The expected files are of another implementation: they may round the last bit otherwise.
    expect(Math.abs((found ?? NaN) - wanted.md2)).toBeLessThanOrEqual(1e-12 * wanted.md2);
  });
}
