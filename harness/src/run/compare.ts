import { isOutlier, type Rational } from '@duoveil/common/encoding';
import { csvSource, type SourceRow } from '@duoveil/gateway/parts';

import { replay, type ReplayResult } from '../oracle/index.js';
import { isScored, type RowEvent } from './events.js';
import type { RunOptions } from './options.js';

/** How a run compares with the plaintext computation. */
export interface Comparison {
  readonly decisions: number;
  /** Rows whose result differs. */
  readonly differences: readonly number[];
}

/** Compute every row again in the clear, exactly, and compare decision and MD². */
export async function compareWithPlaintext(
  { input, limit, monitoring: { schema, policy } }: RunOptions,
  rows: readonly RowEvent[],
): Promise<Comparison> {
  const channels = schema.channels.map(({ name }) => name);
  const cells: SourceRow[] = [];
  for await (const row of csvSource({ path: input, channels, limit })) cells.push(row);
  const expected = replay(cells, schema, policy);
  const thresholds = [policy.thresholdScaled, ...policy.higherThresholdsScaled];
  const differences = expected
    .filter((wanted) => !isSame(wanted, rows[wanted.index], thresholds))
    .map(({ index }) => index);
  return { decisions: expected.filter((wanted) => 'outlier' in wanted).length, differences };
}

function isSame(
  wanted: ReplayResult,
  found: RowEvent | undefined,
  thresholds: readonly bigint[],
): boolean {
  if (found === undefined) return false;
  if ('outlier' in wanted) {
    return (
      isScored(found) &&
      found.outlier === wanted.outlier &&
      (found.md2 === undefined || found.md2 === wanted.md2) &&
      (found.level === undefined || found.level === levelOf(wanted.exact, thresholds))
    );
  }
  return 'skipped' in wanted ? 'skipped' in found : 'learning' in found;
}

/** How many thresholds a distance exceeds. */
export function levelOf(distance: Rational, thresholds: readonly bigint[]): number {
  return thresholds.filter((threshold) => isOutlier(distance, threshold)).length;
}
