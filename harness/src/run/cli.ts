import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import { Command } from 'commander';

import { simulate, toCsv } from '../simulation/index.js';
import { compareWithPlaintext } from './compare.js';
import { addRunOptions, parseRunOptions, type RunOptions, type RunValues } from './options.js';
import { JsonReporter, PersonReporter } from './reporter.js';
import { run, type RunResult } from './run.js';

/** What the demonstration runs unless told otherwise: it ends within three minutes on any engine. */
const DEMO = { window: '10', rows: 28, from: 84, seed: 20 } as const;

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
  return addRunOptions(command).action(async (values: RunValues) => {
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-demo-'));
    try {
      const input = values.input ?? (await simulatedPatient(directory));
      const window = values.window ?? DEMO.window;
      const limit = values.limit ?? String(DEMO.rows);
      const options = await parseRunOptions({ ...values, input, window, limit });
      const { rows } = await runOnce(options);
      await tellComparison(options, rows);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
}

/** Runs until the end, or until Ctrl-C: then everything is stopped first. */
async function runOnce(options: RunOptions): Promise<RunResult> {
  const interrupt = new AbortController();
  const stop = (): void => {
    interrupt.abort(duoveilError('INTERNAL', 'interrupted'));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  process.stdout.once('error', stop);
  try {
    const reporter = options.json ? new JsonReporter() : new PersonReporter();
    return await run(options, reporter, interrupt.signal);
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, stop);
  }
}

async function simulatedPatient(directory: string): Promise<string> {
  const file = join(directory, 'simulated-patient.csv');
  const simulation = simulate({ seed: DEMO.seed, rows: 240, scenario: 'deterioration' });
  const [header, ...rows] = toCsv(simulation).split('\n');
  await writeFile(file, [header, ...rows.slice(DEMO.from)].join('\n'));
  return file;
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
      `${options.monitoring.policy.output === 'distance' ? ', and every MD² to the last bit' : ''}.\n`,
  );
}
