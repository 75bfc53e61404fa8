/** A patient's samples as a time line. */
import type { LevelPoint } from '../api/types.js';

/** Points that a page keeps at most; the oldest go first. */
const KEPT = 50_000;

/** A time line with points after its last one; what it has already is left out. */
export function append(
  points: readonly LevelPoint[],
  more: readonly LevelPoint[],
): readonly LevelPoint[] {
  const last = points.at(-1)?.[0] ?? 0;
  const fresh = more.filter(([sequence]) => sequence > last);
  return fresh.length === 0 ? points : [...points, ...fresh].slice(-KEPT);
}

/** A time line with points before its first one. */
export function prepend(
  points: readonly LevelPoint[],
  earlier: readonly LevelPoint[],
): readonly LevelPoint[] {
  const first = points[0]?.[0] ?? Infinity;
  return [...earlier.filter(([sequence]) => sequence < first), ...points];
}

/** Whether points are missing between a time line and what comes next: it is to be loaded again. */
export function hasHole(points: readonly LevelPoint[], more: readonly LevelPoint[]): boolean {
  const [last, next] = [points.at(-1), more[0]];
  return last !== undefined && next !== undefined && next[0] > last[0] + 1;
}

/** Samples in a row with one level. */
export interface Run {
  readonly level: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly firstSequence: number;
  readonly samples: number;
  /** Nothing was measured between the run before it and this one. */
  readonly afterGap: boolean;
}

/** A time line as runs, the last one first. */
export function runsOf(points: readonly LevelPoint[]): Run[] {
  const gap = gapMs(points);
  const runs: Run[] = [];
  for (const [sequence, at, level] of points) {
    const last = runs.at(-1);
    const afterGap = last !== undefined && at - last.toMs > gap;
    if (last?.level === level && !afterGap) {
      runs[runs.length - 1] = { ...last, toMs: at, samples: last.samples + 1 };
    } else {
      const run = { level, fromMs: at, toMs: at, firstSequence: sequence, samples: 1, afterGap };
      runs.push(run);
    }
  }
  return runs.reverse();
}

/** From how long a pause between two samples is drawn as a gap: five usual ones, at least 5 s. */
export function gapMs(points: readonly LevelPoint[]): number {
  const pauses = points
    .slice(-200)
    .map(([, at], i, all) => at - (all[i - 1]?.[1] ?? at))
    .slice(1)
    .sort((a, b) => a - b);
  const median = pauses[Math.floor(pauses.length / 2)] ?? 0;
  return Math.max(5_000, 5 * median);
}

/**
 * Columns of a chart: seconds, and levels with a hole for a gap and for what has no level. Times never
 * go back, whatever a device's clock did: the chart needs that.
 */
export function columns(
  points: readonly LevelPoint[],
): [seconds: number[], levels: (number | null)[]] {
  const gap = gapMs(points);
  const seconds: number[] = [];
  const levels: (number | null)[] = [];
  let before: number | undefined;
  for (const [, measuredAt, level] of points) {
    const at = Math.max(measuredAt, before ?? measuredAt);
    if (before !== undefined && at - before > gap) {
      seconds.push((before + 1) / 1_000);
      levels.push(null);
    }
    seconds.push(at / 1_000);
    levels.push(level < 0 ? null : level);
    before = at;
  }
  return [seconds, levels];
}

/** Stretches of the time line that are marked behind it, in milliseconds. */
export interface Stretch {
  readonly what: 'learning' | 'gap';
  readonly fromMs: number;
  readonly toMs: number;
}

/** Where a baseline was learnt, and where nothing was measured. */
export function stretches(points: readonly LevelPoint[]): Stretch[] {
  const found: Stretch[] = [];
  // The runs come last one first.
  let next: Run | undefined;
  for (const run of runsOf(points)) {
    if (next?.afterGap === true) found.push({ what: 'gap', fromMs: run.toMs, toMs: next.fromMs });
    if (run.level === -1) {
      const toMs = next === undefined || next.afterGap ? run.toMs : next.fromMs;
      found.push({ what: 'learning', fromMs: run.fromMs, toMs });
    }
    next = run;
  }
  return found.reverse();
}
