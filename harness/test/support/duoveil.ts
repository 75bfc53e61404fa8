/** The executable, as users start it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { onTestFinished } from 'vitest';

import { Observed } from '../../src/parties/observed.js';
import type { ChildOptions, Ending } from '../../src/parties/child.js';
import type { RowEvent, StreamEvent, Summary } from '../../src/run/events.js';

/** The executable's file. */
export const DUOVEIL = fileURLToPath(new URL('../../../cli/bin/duoveil.js', import.meta.url));

/** Longer sweeps, on request. */
export const LONG = process.env['DUOVEIL_LONG_TESTS'] === '1';

/** What a run of a test states: nothing depends on a default. */
export const REFERENCE = ['--suite', 'reference', '--output', 'distance'] as const;

/** The same for the suite that is meant for use. */
export const PACKED = ['--suite', 'packed', '--output', 'level'] as const;

/** 512 bits, which protect nothing. */
export const SHORT_KEY = ['--key-bits', '512', '--insecure-key-bits'] as const;

/** A directory of the test's own, removed after it. */
export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'duoveil-test-'));
  onTestFinished(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  return directory;
}

/** Where and with what a process is started, beside its arguments. */
export type Surroundings = Pick<ChildOptions, 'environment' | 'directory'>;

/** Starts the executable; it is ended with the test at the latest. */
export function start(parameters: readonly string[], surroundings: Surroundings = {}): Observed {
  const process = new Observed({ programme: DUOVEIL, arguments: parameters, ...surroundings });
  onTestFinished(() => process.dispose());
  return process;
}

/** What a process left behind. */
export interface Outcome extends Pick<Ending, 'code' | 'signal'> {
  readonly output: readonly string[];
  readonly log: readonly string[];
}

/** Runs the executable to its end. */
export async function duoveil(
  parameters: readonly string[],
  surroundings: Surroundings = {},
): Promise<Outcome> {
  const process = new Observed({ programme: DUOVEIL, arguments: parameters, ...surroundings });
  const { code, signal } = await process.ended;
  return { code, signal, output: process.output, log: process.log };
}

/**
 * What a run printed: rows, then the summary.
 * @throws where the last line is no summary, or another line is one
 */
export function readResults(output: readonly string[]): {
  readonly rows: readonly RowEvent[];
  readonly summary: Summary;
} {
  const events = output.map((line) => JSON.parse(line) as StreamEvent);
  const rows = events.slice(0, -1).map((event) => {
    if ('summary' in event) throw new Error('a summary stands before the last line');
    return event;
  });
  const last = events.at(-1);
  if (last === undefined || !('summary' in last)) throw new Error('the last line is no summary');
  return { rows, summary: last.summary };
}
