/** A patient of the fault simulation: what is measured, how it is watched, the readings. */
import {
  parsePolicy,
  quantiseRow,
  scaledThreshold,
  selectChannels,
  type MonitoringPolicy,
  type Schema,
} from '@duoveil/common/encoding';

import { simulate } from '../simulation/index.js';
import type { Prng } from '../simulation/prng.js';

/** A data row: its readings as text. */
export interface PlannedRow {
  readonly index: number;
  readonly cells: Readonly<Record<string, string | undefined>>;
  /** Always the same: rows are not paced by time. */
  readonly seconds: number;
}

/** See the file's comment. */
export interface PlannedPatient {
  readonly schema: Schema;
  readonly policy: MonitoringPolicy;
  readonly rows: readonly PlannedRow[];
}

/** Every set of channels fits 512 bits with every window that is drawn. */
const CHANNELS = [['HR'], ['SpO2'], ['HR', 'SpO2'], ['PULSE', 'RESP'], ['HR', 'RESP', 'SpO2']];

/** How often a reading is far from the others, or not there. */
const STRANGE = 0.2;
const MISSING = 0.04;

/** Draws a patient: a small window, a few samples more than it takes to learn from. */
export function planPatient(prng: Prng, seed: number): PlannedPatient {
  const names = CHANNELS[prng.integer(0, CHANNELS.length - 1)] ?? ['HR'];
  const schema = selectChannels(names);
  const policy = planPolicy(prng, schema);
  const rows = planRows(prng, seed, schema, policy.window + prng.integer(3, 9));
  return { schema, policy, rows };
}

function planPolicy(prng: Prng, schema: Schema): MonitoringPolicy {
  const p = schema.channels.length;
  const rolling = prng.uniform() < 0.5;
  // The reference suite opens the distance; mostly, what is meant for use is used.
  const suite = prng.uniform() < 0.2 ? 'reference' : 'packed';
  const output = suite === 'reference' || prng.uniform() < 0.3 ? 'distance' : 'level';
  const higher = output === 'level' ? [0.9, 0.99].slice(0, prng.integer(0, 2)) : [];
  const policy = {
    window: prng.integer(Math.max(5, p + 2), 8),
    baseline: rolling ? 'rolling' : 'fixed',
    retrainEvery: rolling ? prng.integer(2, 5) : 0,
    thresholdScaled: scaledThreshold(0.7, p),
    higherThresholdsScaled: higher.map((quantile) => scaledThreshold(quantile, p)),
    suite,
    output,
  };
  return parsePolicy(policy, schema, 'the plan');
}

/** So many complete rows, and incomplete ones between them. */
function planRows(prng: Prng, seed: number, schema: Schema, complete: number): PlannedRow[] {
  const channels = schema.channels.map(({ name }) => name);
  const calm = simulate({ seed, rows: 2 * complete, scenario: 'calm', channels, decimals: 1 });
  const rows: PlannedRow[] = [];
  let left = complete;
  for (const { index, cells } of calm.rows) {
    if (left === 0) break;
    const drawn = Object.entries(cells).map(([name, reading]) => [name, strange(prng, reading)]);
    const row = { index, cells: Object.fromEntries(drawn) as typeof cells, seconds: 0 };
    rows.push(row);
    if ('complete' in quantiseRow(schema, row.cells)) left -= 1;
  }
  return rows;
}

function strange(prng: Prng, reading: string | undefined): string | undefined {
  const drawn = prng.uniform();
  const by = prng.integer(1, 12);
  if (drawn < MISSING) return undefined;
  if (drawn > MISSING + STRANGE || reading === undefined) return reading;
  return (Number(reading) - by).toFixed(1);
}
