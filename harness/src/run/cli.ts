import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import { Command } from 'commander';

import { simulate, toCsv } from '../simulation/index.js';
import { compareWithPlaintext } from './compare.js';
import { showDashboard } from './dashboard.js';
import { addRunOptions, parseRunOptions, type RunOptions, type RunValues } from './options.js';
import { JsonReporter, PersonReporter, type Reporter } from './reporter.js';
import { run, type RunResult } from './run.js';

/** The simulated patient of the demonstration: calm at first, then deteriorating. */
const SIMULATION = { seed: 20, rows: 240, scenario: 'deterioration' } as const;

/**
 * What the demonstration runs of it unless told otherwise. The reference suite takes seconds for a
 * decision without native arithmetic: it gets a short piece around the onset.
 */
const DEMO = {
  packed: { window: '60', fromRow: 0, rows: SIMULATION.rows },
  reference: { window: '8', fromRow: 86, rows: 22 },
} as const;

/** `duoveil run` */
export function runCommand(): Command {
  const command = new Command('run').description(
    'start a throw-away CSP and SP, stream a recording through a gateway, and print a result for every row',
  );
  return addRunOptions(command).action(async (values: RunValues) => {
    await runOnce(await parseRunOptions(values));
  });
}

/** `duoveil demo`: a run that ends by comparing every result with the plaintext computation. */
export function demoCommand(): Command {
  const command = new Command('demo').description(
    'run a simulated patient, or a recording, and compare every result with the plaintext computation',
  );
  addRunOptions(command).option(
    '--dashboard',
    'then show the dashboard of a ward of simulated patients, until Ctrl-C',
  );
  return command.action(async (values: RunValues & { readonly dashboard?: boolean }) => {
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-demo-'));
    try {
      const options = await parseRunOptions(await demoValues(values, directory));
      const { rows } = await runOnce(options);
      await tellComparison(options, rows);
      if (values.dashboard === true) await dashboardOnce(options);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
}

/** Shows the dashboard until Ctrl-C, which is its ordinary end. */
async function dashboardOnce(options: RunOptions): Promise<void> {
  await untilInterrupted((signal) => showDashboard(options, reporterOf(options), signal));
}

/** Runs until the end, or until Ctrl-C: then everything is stopped first. */
async function runOnce(options: RunOptions): Promise<RunResult> {
  return untilInterrupted((signal) => run(options, reporterOf(options), signal));
}

function reporterOf({ json }: RunOptions): Reporter {
  return json ? new JsonReporter() : new PersonReporter();
}

/** Does something that Ctrl-C ends. */
async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interrupt = new AbortController();
  const stop = (reason: NodeJS.Signals | Error): void => {
    const why = reason instanceof Error ? 'nobody reads the output' : reason;
    interrupt.abort(duoveilError('NOT_READY', `stopped before the end (${why})`));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  process.stdout.once('error', stop);
  try {
    return await work(interrupt.signal);
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, stop);
  }
}

/** The values as given; without an input, those of a simulated patient. */
async function demoValues(values: RunValues, directory: string): Promise<RunValues> {
  if (values.input !== undefined) return values;
  const { window, fromRow, rows } = DEMO[values.suite === 'reference' ? 'reference' : 'packed'];
  const input = join(directory, 'simulated-patient.csv');
  const simulation = simulate(SIMULATION);
  const chosen = simulation.rows.slice(fromRow, fromRow + rows);
  await writeFile(input, toCsv({ ...simulation, rows: chosen }));
  return { window, ...values, input };
}

async function tellComparison(options: RunOptions, rows: RunResult['rows']): Promise<void> {
  const { decisions, differences } = await compareWithPlaintext(options, rows);
  if (differences.length > 0) {
    throw duoveilError(
      'INTERNAL',
      `${String(differences.length)} rows differ from the plaintext computation: ${differences.slice(0, 10).join(', ')}`,
    );
  }
  const stream = options.json ? process.stderr : process.stdout;
  stream.write(
    `\n  Compared with the plaintext computation: all ${String(decisions)} decisions are the same` +
      `${options.monitoring.policy.output === 'distance' ? ', and every MD² to the last bit' : ', and every level'}.\n`,
  );
}
