/** The tables of `docs/performance.md`. */
import type { BenchResult } from './bench.js';
import { milliseconds, replacedBetween, table } from './markdown.js';

/** Between these the tables stand. */
export const MARKERS = { begin: '<!-- bench:begin -->', end: '<!-- bench:end -->' } as const;

/** The document with its tables made anew. @throws RangeError where it has no markers */
export function docsWith(document: string, results: readonly BenchResult[]): string {
  return replacedBetween(document, MARKERS, tables(results));
}

function tables(results: readonly BenchResult[]): string {
  return [
    ...machines(results),
    '',
    '### Suites',
    '',
    ...suites(results),
    '',
    '### Against the arithmetic alone',
    '',
    ...floors(results),
    '',
    '### Both servers under load',
    '',
    ...loads(results),
    ...results.slice(0, 1).flatMap(operations),
  ].join('\n');
}

function machines(results: readonly BenchResult[]): string[] {
  const lines = results.map(
    ({ machine: { cpu, cores, memoryGiB, node, openssl } }) =>
      `${cpu}, ${cores} cores, ${memoryGiB} GiB, Node.js ${node}, OpenSSL ${openssl}.`,
  );
  const loads = results.map(({ machine }) => machine.load.toFixed(1));
  const engines = new Set(results.map(({ machine }) => machine.arithmetic));
  return [
    ...new Set(lines),
    `Arithmetic: ${[...engines].join(', ')}.`,
    '',
    `Load average of the minute before each run, in the tables' order: ${loads.join(', ')}.`,
  ];
}

function suites(results: readonly BenchResult[]): string[] {
  return table(
    ['bits', 'engine', 'window', 'suite', 'output', 'training', 'score', 'scores/s'],
    results.flatMap((result) =>
      (['reference', 'packed', 'packedLevel'] as const).map((name) => {
        const times = result.suites[name];
        return [
          ...headingOf(result),
          name === 'packedLevel' ? 'packed' : name,
          name === 'packedLevel' ? 'level' : 'distance',
          milliseconds(times?.trainMs),
          milliseconds(times?.scoreMs),
          times?.scoresPerSecond?.toFixed(0) ?? '-',
        ];
      }),
    ),
  );
}

function floors(results: readonly BenchResult[]): string[] {
  const ratio = (time: number | undefined, unit: number | undefined): string =>
    time === undefined || unit === undefined ? '-' : (time / unit).toFixed(2);
  return table(
    [
      'bits',
      'engine',
      'e',
      'step',
      'floor',
      'measured',
      'measured / floor',
      'measured / e',
      'reference / packed',
    ],
    results.flatMap((result) => {
      const { keyBits, suites: measured, floorMs, primitives } = result;
      const e = primitives[`exp_${2 * keyBits}_${keyBits / 2}`];
      const row = (step: 'train' | 'score', key: 'trainMs' | 'scoreMs'): string[] => {
        const time = measured.packed?.[key];
        return [
          String(keyBits),
          result.engine,
          milliseconds(e),
          step === 'train' ? 'packed training' : 'packed score',
          milliseconds(floorMs[step]),
          milliseconds(time),
          ratio(time, floorMs[step]),
          ratio(time, e),
          ratio(measured.reference?.[key], time),
        ];
      };
      return [row('train', 'trainMs'), row('score', 'scoreMs')];
    }),
  );
}

function loads(results: readonly BenchResult[]): string[] {
  return table(
    [
      'bits',
      'engine',
      'output',
      'server',
      'CPU a score',
      'of it in the event loop',
      'memory',
      'longest turn of the event loop',
    ],
    results.flatMap(({ keyBits, engine, throughput }) =>
      (['distance', 'level'] as const).flatMap((output) => {
        const servers = output === 'level' ? throughput?.level : throughput;
        if (servers === undefined) return [];
        return (['sp', 'csp'] as const).map((server) => {
          const load = servers[server];
          return [
            String(keyBits),
            engine,
            output,
            server.toUpperCase(),
            milliseconds(load.cpuMsPerScore),
            milliseconds(load.mainThreadMsPerScore),
            `${load.rssMiB} MiB`,
            milliseconds(load.eventLoopRanMs),
          ];
        });
      }),
    ),
  );
}

/** Counts and times of the operations of the first result. */
function operations({ keyBits, engine, counts, primitives }: BenchResult): string[] {
  const packed = counts.packed;
  if (packed === undefined) return [];
  const names = Object.keys(primitives).filter((name) =>
    Object.values(packed).some((step) => step[name] !== undefined),
  );
  const times = (step: Record<string, number>, name: string): string => String(step[name] ?? 0);
  return [
    '',
    `### Operations of the packed suite at ${keyBits} bits, ${engine} engine`,
    '',
    ...table(
      ['operation', 'one takes', 'a sample coming in', 'a training', 'a score'],
      names.map((name) => [
        `\`${name}\``,
        milliseconds(primitives[name]),
        times(packed.ingest, name),
        times(packed.train, name),
        times(packed.score, name),
      ]),
    ),
  ];
}

function headingOf({ keyBits, engine, window }: BenchResult): string[] {
  return [String(keyBits), engine, String(window)];
}
