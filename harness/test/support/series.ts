/** Samples of a simulated patient, and what has to be decided on them. */
import { quantiseRow } from '@duoveil/common/encoding';
import type { MonitoringPolicy, Schema } from '@duoveil/common/encoding';
import { expect } from 'vitest';

import { replay } from '../../src/oracle/index.js';
import type { ReplayRow } from '../../src/oracle/index.js';
import { simulate } from '../../src/simulation/index.js';
import { SCHEMA } from './hand-made.js';
import type { WatchEvent } from './hand-made.js';

/** A complete row: its readings, and the same quantised. */
export interface TestRow extends ReplayRow {
  readonly values: readonly bigint[];
}

/** Readings of a patient who gets worse, all complete. */
export function samples(rows: number, schema: Schema = SCHEMA, seed = 7): TestRow[] {
  const channels = schema.channels.map(({ name }) => name);
  const simulation = simulate({ seed, rows, scenario: 'deterioration', channels, decimals: 1 });
  return simulation.rows.map(({ cells }) => {
    const quantised = quantiseRow(schema, cells);
    if ('skipped' in quantised) throw new Error(quantised.skipped);
    return { cells, values: quantised.complete };
  });
}

/** The decisions are those of the oracle: each once, in order, to the last bit. */
export function expectEvents(
  events: readonly WatchEvent[],
  rows: readonly TestRow[],
  schema: Schema,
  policy: MonitoringPolicy,
): void {
  const decisions = events.flatMap((event) => (event.$case === 'decision' ? [event.value] : []));
  const found = decisions.map(({ sequence, outcome }) => {
    if (outcome?.$case !== 'scored') return { sequence, outcome: outcome?.$case };
    const { outlier, statistic } = outcome.value;
    return { sequence, outlier, md2: statistic?.value };
  });
  const expected = replay(rows, schema, policy).map((row) => {
    const sequence = BigInt(row.index + 1);
    if (!('outlier' in row)) return { sequence, outcome: 'learning' };
    return { sequence, outlier: row.outlier, md2: row.md2 };
  });
  expect(found).toEqual(expected);
  const models = events.flatMap((event) => (event.$case === 'trained' ? [event.value.model] : []));
  expect(models).toEqual(models.map((_, i) => i + 1));
}
