import { duoveilError } from '@duoveil/common/errors';
import { Command } from 'commander';

import { bench, type BenchResult } from './bench.js';
import { load, type LoadResult } from './load.js';
import { loadTable } from './load-tables.js';
import {
  addBenchOptions,
  parseBenchOptions,
  type BenchOptions,
  type BenchValues,
} from './options.js';
import { soak, type SoakResult } from './soak.js';

/** `duoveil bench` */
export function benchCommand(): Command {
  const command = new Command('bench').description(
    'measure both suites over real processes, and what the arithmetic alone costs',
  );
  return addBenchOptions(command).action(async (values: BenchValues) => {
    const options = parseBenchOptions(values);
    const interrupt = new AbortController();
    const stop = (): void => {
      interrupt.abort(duoveilError('INTERNAL', 'interrupted'));
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
    for (const signal of signals) process.on(signal, stop);
    try {
      const result = await measured(options, interrupt.signal);
      process.stdout.write(`${options.json ? JSON.stringify(result) : readable(result)}\n`);
    } finally {
      for (const signal of signals) process.off(signal, stop);
    }
  });
}

function measured(
  options: BenchOptions,
  signal: AbortSignal,
): Promise<BenchResult | SoakResult | LoadResult> {
  if (options.load !== undefined) return load(options, options.load, notice, signal);
  if (options.soak !== undefined) return soak(options, options.soak, notice, signal);
  return bench(options, notice, signal);
}

function notice(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** The same for a person. */
function readable(result: BenchResult | SoakResult | LoadResult): string {
  const { machine, keyBits, window } = result;
  const heading =
    `${machine.cpu}, ${machine.cores} cores, Node.js ${machine.node}; ${keyBits} bits, ` +
    `${machine.arithmetic} engine, window of ${window}`;
  return [heading, ...linesOf(result).map((line) => `  ${line}`)].join('\n');
}

function linesOf(result: BenchResult | SoakResult | LoadResult): string[] {
  if ('load' in result) return loadTable(result);
  if (!('soak' in result)) return benchLines(result);
  return result.soak.steps.map(
    ({ scored, spMiB, cspMiB }) => `${scored} scored: SP ${spMiB} MiB, CSP ${cspMiB} MiB`,
  );
}

function benchLines({ suites, floorMs, keyBits, primitives }: BenchResult): string[] {
  const name = `exp_${2 * keyBits}_${keyBits / 2}`;
  const { reference, packed } = suites;
  return [
    `one exponentiation (${name}): ${primitives[name] ?? '-'} ms`,
    ...(reference
      ? [`reference: training ${reference.trainMs} ms, score ${reference.scoreMs} ms`]
      : []),
    ...(packed
      ? [
          `packed: training ${packed.trainMs} ms (floor ${floorMs.train ?? '-'} ms), ` +
            `score ${packed.scoreMs} ms (floor ${floorMs.score ?? '-'} ms), ` +
            `${packed.scoresPerSecond ?? '-'} scores/s`,
        ]
      : []),
  ];
}
