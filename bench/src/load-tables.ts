/** What a ward came to, for `docs/performance.md` and for a person. */
import type { LoadResult, ServerProcessLoad } from './load.js';
import { milliseconds, replacedBetween, table } from './markdown.js';
import type { Times } from './timeline.js';

/** Between these the table stands. */
export const LOAD_MARKERS = { begin: '<!-- load:begin -->', end: '<!-- load:end -->' } as const;

/** The document with its table made anew. @throws RangeError where it has no markers */
export function docsWithLoad(document: string, result: LoadResult): string {
  const { machine } = result;
  const text = [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node.js ${machine.node}.`,
    `Arithmetic: ${machine.arithmetic}. Load average of the minute before: ${machine.load.toFixed(1)}.`,
    '',
    ...loadTable(result),
  ].join('\n');
  return replacedBetween(document, LOAD_MARKERS, text);
}

/** The table's lines. */
export function loadTable({ keyBits, engine, window, load }: LoadResult): string[] {
  const { patients, rate, seconds, retrainEvery, decisions, levels, deepestBacklog } = load;
  const levelCounts = Object.entries(levels).map(([level, count]) => `${count} of level ${level}`);
  return table(
    ['figure', 'value'],
    [
      ['ward', `${patients} patients at ${rate} Hz for ${seconds} s`],
      ['setting', `${keyBits} bits, ${engine} engine, level output`],
      ['baseline', `rolling, window of ${window}, trained every ${retrainEvery} accepted samples`],
      [
        'decisions',
        `${decisions}: ${levelCounts.join(', ')}; ${load.unscored} without a level, ${load.missing} missing`,
      ],
      ['gateway to decision', times(load.decisionMs)],
      ['the same from when the sample was due', times(load.fromDueMs)],
      ['trainings', load.trainings === 0 ? '0' : `${load.trainings}: ${times(load.trainMs)}`],
      [
        'deepest backlog',
        `${deepestBacklog.samples} samples, the oldest for ${milliseconds(deepestBacklog.lagMs)}`,
      ],
      ['cores taken', coresTaken(load)],
      ['memory of the SP', memory(load.sp)],
      ['memory of the CSP', memory(load.csp)],
    ],
  );
}

function times({ p50, p95, p99, max }: Times): string {
  const named = Object.entries({ p50, p95, p99, max });
  return named.map(([name, value]) => `${name} ${milliseconds(value)}`).join(', ');
}

function coresTaken({ sp, csp, gateways }: LoadResult['load']): string {
  const named = Object.entries({ SP: sp, CSP: csp, 'all gateways': gateways });
  return named.map(([name, { cores }]) => `${name} ${cores.toFixed(2)}`).join(', ');
}

function memory({ memory: trend }: ServerProcessLoad): string {
  const whole = (mebibytes: number): string => `${mebibytes.toFixed(0)} MiB`;
  const halves = `${whole(trend.firstHalfMiB)} in the first half, ${whole(trend.secondHalfMiB)} in the second`;
  return `${halves}, at most ${whole(trend.mostMiB)}; ${trend.slopeMiBPerMinute.toFixed(2)} MiB a minute`;
}
