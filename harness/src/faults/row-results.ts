/** What becomes of each row: as the oracle has it, as a gateway is told, as the store keeps it. */
import type { RunEvent } from '@duoveil/gateway/parts';

import { replay, type ReplayResult } from '../oracle/index.js';
import { levelOf } from '../run/compare.js';
import type { StreamEvent } from '../run/events.js';
import type { PlannedPatient } from './planned-patient.js';

/** What became of a row. */
export type RowResult =
  | { readonly index: number; readonly learning: true }
  | { readonly index: number; readonly skipped: string }
  | {
      readonly index: number;
      readonly outlier: boolean;
      /** The squared distance or the level, by the policy's output. */
      readonly statistic: number;
    };

/** What is kept of a sample that was decided on; see the store of the service provider. */
export interface KeptDecision {
  readonly sequence: number;
  readonly outcome:
    | { readonly kind: 'learning' }
    | { readonly kind: 'unscorable' }
    | {
        readonly kind: 'scored';
        readonly outlier: boolean;
        readonly statistic:
          | { readonly kind: 'distance'; readonly squaredDistance: number }
          | { readonly kind: 'level'; readonly level: number };
      };
}

/** What has to become of a patient's rows. */
export function expectedResults({ schema, policy, rows }: PlannedPatient): RowResult[] {
  const thresholds = [policy.thresholdScaled, ...policy.higherThresholdsScaled];
  const result = (row: ReplayResult): RowResult => {
    if (!('outlier' in row)) return row;
    const { index, outlier, md2, exact } = row;
    return {
      index,
      outlier,
      statistic: policy.output === 'level' ? levelOf(exact, thresholds) : md2,
    };
  };
  return replay(rows, schema, policy).map(result);
}

/** An event of a gateway within this process; undefined for one that is no row's. */
export function resultOfEvent(event: RunEvent): RowResult | undefined {
  switch (event.kind) {
    case 'trained':
      return undefined;
    case 'learning':
      return { index: event.index, learning: true };
    case 'skipped':
      return { index: event.index, skipped: event.reason };
    case 'scored': {
      const { index, outlier, statistic } = event;
      return { index, outlier, statistic: statisticOf(statistic) };
    }
  }
}

/** A line of a gateway that is a process of its own; undefined for one that is no row's. */
export function resultOfLine(event: StreamEvent): RowResult | undefined {
  if ('summary' in event) return undefined;
  if ('learning' in event) return { index: event.index, learning: true };
  if ('skipped' in event) return { index: event.index, skipped: event.skipped };
  const { index, outlier, md2, level } = event;
  return { index, outlier, statistic: md2 ?? level ?? NaN };
}

/**
 * What the store should keep of a patient, by its own numbers: complete rows, from 1.
 * @returns nothing where it does, else what is wrong
 */
export function differenceInStore(
  expected: readonly RowResult[],
  kept: readonly KeptDecision[],
): string | undefined {
  const wanted = expected.flatMap((row): object[] => {
    if ('skipped' in row) return [];
    if ('learning' in row) return [{ learning: true }];
    return [{ outlier: row.outlier, statistic: row.statistic }];
  });
  const found = kept.map(({ outcome }) => {
    if (outcome.kind === 'learning') return { learning: true };
    if (outcome.kind === 'unscorable') return { unscorable: true };
    return { outlier: outcome.outlier, statistic: statisticOf(outcome.statistic) };
  });
  const numbers = kept.map(({ sequence }) => sequence);
  if (numbers.some((sequence, i) => sequence !== i + 1)) {
    return `the store has decisions ${numbers.join(' ')}`;
  }
  if (numbers.length !== wanted.length) {
    return `the store has ${numbers.length} decisions on ${wanted.length} samples`;
  }
  const wrong = found.findIndex((one, i) => JSON.stringify(one) !== JSON.stringify(wanted[i]));
  if (wrong < 0) return undefined;
  const [one, other] = [JSON.stringify(found[wrong]), JSON.stringify(wanted[wrong])];
  return `the store has ${one} for sample ${wrong + 1}, which is ${other}`;
}

type Statistic = Extract<KeptDecision['outcome'], { kind: 'scored' }>['statistic'];

function statisticOf(statistic: Statistic): number {
  return statistic.kind === 'level' ? statistic.level : statistic.squaredDistance;
}
