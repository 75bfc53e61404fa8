/** `duoveil demo --dashboard`: a ward that goes on until somebody has seen enough. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { RunOptions } from './options.js';
import type { Reporter } from './reporter.js';
import { Ward } from './ward.js';
import { wardPatients } from './ward-patients.js';

/**
 * Start a ward of simulated patients, say where its dashboard is, and stay.
 * @param signal ends it, whatever it is at
 * @throws DuoveilError where a party gives up
 */
export async function showDashboard(
  { keyBits, engine }: Pick<RunOptions, 'keyBits' | 'engine'>,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'duoveil-ward-'));
  const patients = wardPatients();
  const ward = await Ward.prepare({
    ...{ directory, patients, keyBits, engine },
    onWarning: (line) => {
      reporter.notice(line);
    },
  });
  const work = go(ward, reporter, signal);
  try {
    await Promise.race([work, aborted(signal)]);
  } finally {
    await ward.stop();
    // What it had begun has nothing left to work with.
    await work.catch(() => undefined);
    await rm(directory, { recursive: true, force: true });
  }
}

async function go(ward: Ward, reporter: Reporter, signal: AbortSignal): Promise<void> {
  reporter.stage('Starting both servers of a ward, with the dashboard');
  const url = await ward.startServers();
  reporter.stageDone('done');
  if (signal.aborted) return;
  reporter.notice('');
  reporter.notice('  The dashboard is open until Ctrl-C. This address signs in, as an operator:');
  reporter.notice(`  ${url}/#/sign-in?token=${ward.access.token('operator')}`);
  reporter.notice('');
  reporter.stage('Enrolling six simulated patients');
  await ward.startPatients();
  reporter.stageDone('done; the last of them deteriorates: an alarm rises within a minute');
  await ward.untilFailure();
}

/** Resolves when the signal is aborted: seeing enough is no failure. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else {
      signal.addEventListener('abort', () => {
        resolve();
      });
    }
  });
}
