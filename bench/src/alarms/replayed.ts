/** What a policy of alarms makes of recordings, computed in the clear with the code that raises alarms. */
import {
  DEFAULT_LEVEL_QUANTILES,
  DEFAULT_RETRAIN_EVERY,
  isOutlier,
  scaledThreshold,
  selectChannels,
  type Baseline,
} from '@duoveil/common/encoding';
import { parsePatientId } from '@duoveil/common/runtime';
import { replay, type ReplayRow } from '@duoveil/harness/oracle';
import { EMPTY_BOOK, isActive, judge, Persistence } from '@duoveil/service-provider/alarms';
import type { AlarmPolicy } from '@duoveil/service-provider/alarms';

/** How a patient's baseline is learnt. */
export interface Learning {
  readonly baseline: Baseline;
  readonly window: number;
}

/** The level of a scored row. */
export interface LeveledRow {
  /** The row's, from 0. */
  readonly index: number;
  readonly level: number;
}

const schema = selectChannels(['HR', 'PULSE', 'RESP', 'SpO2']);
const thresholds = DEFAULT_LEVEL_QUANTILES.map((quantile) =>
  scaledThreshold(quantile, schema.channels.length),
);
const [first = 0n] = thresholds;

/** The levels of a recording's rows with the default channels and thresholds: exact, as the protocols' are. */
export function levelsOf(
  rows: Iterable<ReplayRow>,
  { baseline, window }: Learning,
): readonly LeveledRow[] {
  const retrainEvery = baseline === 'fixed' ? 0 : DEFAULT_RETRAIN_EVERY;
  const results = replay(rows, schema, { baseline, window, retrainEvery, thresholdScaled: first });
  return results.flatMap((result) => {
    if (!('exact' in result)) return [];
    const exceeded = thresholds.filter((threshold) => isOutlier(result.exact, threshold));
    return [{ index: result.index, level: exceeded.length }];
  });
}

/** What there was of alarms. */
export interface Alarmed {
  readonly scored: number;
  /** Scored samples at level 1 or above. */
  readonly flagged: number;
  /** Scored samples after which an alarm was active. */
  readonly active: number;
  /** The rows after which an alarm was raised. */
  readonly raised: readonly number[];
}

const patient = parsePatientId('replayed', 'patient');

/** What a policy makes of levels. */
export function alarmed(rows: readonly LeveledRow[], policy: AlarmPolicy): Alarmed {
  const persistence = new Persistence(policy.levels);
  let book = EMPTY_BOOK;
  let active = 0;
  const raised: number[] = [];
  for (const [i, { index, level }] of rows.entries()) {
    persistence.add(level);
    const counts = persistence.after('nothing');
    const at = new Date(i * 1000);
    const finding = { patient, sequence: i + 1, counts, measured: undefined, at };
    const before = book.next;
    book = judge(book, policy, finding)?.(book) ?? book;
    for (let number = before; number < book.next; number += 1) raised.push(index);
    active += Number(book.alarms.some(isActive));
  }
  const flagged = rows.filter(({ level }) => level > 0).length;
  return { scored: rows.length, flagged, active, raised };
}
