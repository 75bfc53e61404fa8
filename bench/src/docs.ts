/**
 * `npm run bench:docs`: measure, and write the tables of `docs/performance.md` anew.
 *
 * Files with results that `duoveil bench --json` printed may be given instead of measuring.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { runMain } from '@duoveil/common/runtime';

import { bench, type BenchResult } from './bench.js';
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

await runMain(async () => {
  const files = process.argv.slice(2);
  const results = files.length > 0 ? await Promise.all(files.map(read)) : await measure();
  await writeFile(DOCUMENT, docsWith(await readFile(DOCUMENT, 'utf8'), results));
});

async function read(file: string): Promise<BenchResult> {
  return JSON.parse(await readFile(file, 'utf8')) as BenchResult;
}

async function measure(): Promise<BenchResult[]> {
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
