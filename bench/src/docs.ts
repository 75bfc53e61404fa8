/**
 * `npm run bench:docs`: measure, and write the tables of `docs/performance.md` anew.
 *
 * `-- --load` measures the ward only. Files with results that `duoveil bench --json` printed may be given
 * instead of measuring. Tables for which there is no result stay as they are.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { runMain } from '@duoveil/common/runtime';

import { bench, type BenchResult } from './bench.js';
import { load, type LoadResult } from './load.js';
import { docsWithLoad } from './load-tables.js';
import { parseBenchOptions, type BenchValues } from './options.js';
import { docsWith } from './tables.js';

const DOCUMENT = fileURLToPath(new URL('../../docs/performance.md', import.meta.url));

/** The reference suite takes too long on the portable engine at 3,072 bits. */
const RUNS: readonly BenchValues[] = [
  { keyBits: '2048', engine: 'native' },
  { keyBits: '2048', engine: 'portable' },
  { keyBits: '3072', engine: 'native' },
  { keyBits: '3072', engine: 'portable', suite: 'packed' },
];

const LOAD: BenchValues = { load: true, engine: 'native' };

await runMain(async () => {
  const results = await resultsFor(process.argv.slice(2));
  const suites = results.filter((result) => 'suites' in result);
  let document = await readFile(DOCUMENT, 'utf8');
  if (suites.length > 0) document = docsWith(document, suites);
  for (const result of results) if ('load' in result) document = docsWithLoad(document, result);
  await writeFile(DOCUMENT, document);
});

async function resultsFor(names: readonly string[]): Promise<(BenchResult | LoadResult)[]> {
  if (names.length === 0) return [...(await measureSuites()), await measureLoad()];
  if (names[0] === '--load') return [await measureLoad()];
  return Promise.all(names.map(read));
}

async function read(file: string): Promise<BenchResult | LoadResult> {
  return JSON.parse(await readFile(file, 'utf8')) as BenchResult | LoadResult;
}

async function measureLoad(): Promise<LoadResult> {
  const options = parseBenchOptions(LOAD);
  if (options.load === undefined) throw new Error('there is no ward to measure');
  return load(options, options.load, notice, new AbortController().signal);
}

async function measureSuites(): Promise<BenchResult[]> {
  const results: BenchResult[] = [];
  const { signal } = new AbortController();
  for (const run of RUNS) {
    notice(JSON.stringify(run));
    results.push(await bench(parseBenchOptions(run), notice, signal));
  }
  return results;
}

function notice(line: string): void {
  process.stderr.write(`${line}\n`);
}
