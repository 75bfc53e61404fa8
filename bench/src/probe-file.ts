/** What a probe writes and the benchmark reads. */
import { readFile } from 'node:fs/promises';

/** Names the file in the environment of a server. */
export const PROBE_FILE_VARIABLE = 'DUOVEIL_BENCH_PROBE';

/** One look at a process. */
export interface ProbeLine {
  readonly pid: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly rssBytes: number;
  /** Processor time of all threads since the process began. */
  readonly cpuMs: number;
  /** The part of it that the thread of the event loop took. */
  readonly mainThreadCpuMs: number;
  /** The longest time since the last line for which the event loop did not turn. */
  readonly stalledMs: number;
  /** The same, without the time for which the thread was ready and waited for a processor. */
  readonly heldMs: number;
  /** The longest that the thread computed between two turns. */
  readonly ranMs: number;
}

/** What was seen of one process over a time: its processor time, and the rest as in a line. */
export type Seen = Omit<ProbeLine, 'pid' | 'at'>;

/** All lines so far; none where the file is not there yet. */
export async function readProbes(file: string): Promise<ProbeLine[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as ProbeLine);
}

/** Sum up what one process's probe saw between two moments. */
export function seenBetween(
  lines: readonly ProbeLine[],
  pid: number | undefined,
  from: number,
  to: number,
): Seen {
  const own = lines.filter((line) => line.pid === pid && line.at >= from && line.at <= to);
  const [first, last] = [own[0], own.at(-1)];
  return {
    cpuMs: (last?.cpuMs ?? 0) - (first?.cpuMs ?? 0),
    mainThreadCpuMs: (last?.mainThreadCpuMs ?? 0) - (first?.mainThreadCpuMs ?? 0),
    rssBytes: last?.rssBytes ?? 0,
    stalledMs: Math.max(0, ...own.map(({ stalledMs }) => stalledMs)),
    heldMs: Math.max(0, ...own.map(({ heldMs }) => heldMs)),
    ranMs: Math.max(0, ...own.map(({ ranMs }) => ranMs)),
  };
}
