/** What monitoring a recording has to say about every row: the monitor's semantics, in plaintext. */
import { isOutlier, quantiseRow, scaleOf, toNumber } from '@duoveil/common/encoding';
import type { Cell, MonitoringPolicy, Rational, Schema } from '@duoveil/common/encoding';
import { scoreExact, trainExact } from './model.js';
import type { ExactModel } from './model.js';

/** A row to replay: readings by channel name; what is no channel of the schema is ignored. */
export interface ReplayRow {
  readonly cells: Readonly<Partial<Record<string, Cell>>>;
}

/** The result for one row. `index` counts the data rows from 0, skipped ones included. */
export type ReplayResult =
  | { readonly index: number; readonly learning: true }
  | { readonly index: number; readonly skipped: string }
  | {
      readonly index: number;
      readonly outlier: boolean;
      /** The exact rational, rounded once to a double. */
      readonly md2: number;
      /** The exact rational itself. */
      readonly exact: Rational;
    };

/** The part of a policy that decides results. */
export type ReplayPolicy = Pick<
  MonitoringPolicy,
  'window' | 'baseline' | 'retrainEvery' | 'thresholdScaled'
>;

/**
 * Replay rows. The first `window` complete samples make the baseline; every later one is scored. A
 * rolling baseline is trained again, on the last `window` accepted samples, after every
 * `retrainEvery` accepted ones; accepted are those that made the first baseline and those that were
 * scored and are no outliers. Incomplete rows are skipped: they are not counted anywhere.
 */
export function replay(
  rows: Iterable<ReplayRow>,
  schema: Schema,
  policy: ReplayPolicy,
): ReplayResult[] {
  const F = schema.channels.map((channel) => scaleOf(channel).F);
  const accepted: (readonly bigint[])[] = [];
  const results: ReplayResult[] = [];
  let model: ExactModel | undefined;
  let sinceTraining = 0;

  const accept = (sample: readonly bigint[]) => {
    accepted.push(sample);
    if (accepted.length > policy.window) accepted.shift();
  };

  for (const row of rows) {
    const index = results.length;
    const quantised = quantiseRow(schema, row.cells);
    if ('skipped' in quantised) {
      results.push({ index, skipped: quantised.skipped });
      continue;
    }
    const sample = quantised.complete;
    if (model === undefined) {
      results.push({ index, learning: true });
      accept(sample);
      if (accepted.length === policy.window) model = trainExact(accepted, F);
      continue;
    }
    const exact = scoreExact(model, sample);
    const outlier = isOutlier(exact, policy.thresholdScaled);
    results.push({ index, outlier, md2: toNumber(exact), exact });
    if (outlier || policy.baseline === 'fixed') continue;
    accept(sample);
    sinceTraining += 1;
    if (sinceTraining === policy.retrainEvery) {
      model = trainExact(accepted, F);
      sinceTraining = 0;
    }
  }
  return results;
}
