/** Figures of many times, and of something that is looked at again and again. */
import { rounded } from './machine.js';

/** Times in milliseconds: of so many in a hundred none was longer. */
export interface Times {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Sum up times, by the nearest rank; all 0 where there are none. */
export function timesOf(values: readonly number[]): Times {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number =>
    rounded(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0);
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}

/** A process's memory over a time, in MiB. */
export interface MemoryTrend {
  readonly firstHalfMiB: number;
  readonly secondHalfMiB: number;
  readonly mostMiB: number;
  /** By how much the line of least squares rises; below 0 where it falls. */
  readonly slopeMiBPerMinute: number;
}

/** Sum up looks at a process's memory. @throws RangeError for fewer than two */
export function memoryTrend(
  looks: readonly { readonly at: number; readonly rssBytes: number }[],
): MemoryTrend {
  const [first, last] = [looks[0], looks.at(-1)];
  if (first === undefined || last === undefined || first === last) {
    throw new RangeError('two looks at the memory are needed');
  }
  const points = looks.map(({ at, rssBytes }) => ({
    minutes: (at - first.at) / 60_000,
    mebibytes: rssBytes / 2 ** 20,
  }));
  const middle = (last.at - first.at) / 120_000;
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  const half = (second: boolean): number =>
    mean(points.filter(({ minutes }) => minutes >= middle === second).map((p) => p.mebibytes));
  const [x, y] = [mean(points.map((p) => p.minutes)), mean(points.map((p) => p.mebibytes))];
  const spread = mean(points.map(({ minutes }) => (minutes - x) ** 2));
  const together = mean(points.map((p) => (p.minutes - x) * (p.mebibytes - y)));
  return {
    firstHalfMiB: rounded(half(false)),
    secondHalfMiB: rounded(half(true)),
    mostMiB: rounded(Math.max(...points.map(({ mebibytes }) => mebibytes))),
    slopeMiBPerMinute: rounded(together / spread),
  };
}
