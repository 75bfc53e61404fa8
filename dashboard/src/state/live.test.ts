import { expect, test } from 'vitest';

import { ApiError } from '../api/api-error.js';
import type { FleetChange, PatientSummary } from '../api/types.js';
import { pauseMs } from './backoff.js';
import { summary } from './fixture.js';
import { LiveConnection } from './live.js';

type Attempt = 'refused' | 'signed out' | readonly string[];

/** A connection whose attempts go as listed: each is refused, or gives changes and then ends. */
function scripted(attempts: readonly Attempt[]) {
  const log: string[] = [];
  const left = [...attempts];
  const connection = new LiveConnection(
    {
      changes: () => {
        const attempt = left.shift() ?? 'signed out';
        if (attempt === 'refused') return Promise.reject(new ApiError(503, 'NOT_READY', 'no'));
        if (attempt === 'signed out') return Promise.reject(new ApiError(401, 'X', 'out'));
        log.push('open');
        return Promise.resolve(changesOf(attempt));
      },
      patients: () => Promise.resolve([]),
    },
    {
      onState: (patients: readonly PatientSummary[]) => log.push(`state of ${patients.length}`),
      onChange: (change: FleetChange) => log.push(change.summary.patient),
      onSignedOut: () => log.push('signed out'),
    },
    {
      now: () => new Date(0),
      random: () => 1,
      sleep: (ms) => {
        log.push(`${connection.connection.value.state}, wait ${ms}`);
        return Promise.resolve();
      },
    },
  );
  return { connection, log };
}

async function* changesOf(patients: readonly string[]): AsyncGenerator<FleetChange> {
  for (const patient of patients) {
    yield await Promise.resolve({ summary: summary(patient), changed: [] });
  }
}

test('the whole state is read again after each loss, and pauses grow until it is live', async () => {
  const { connection, log } = scripted([['a'], 'refused', 'refused', ['b'], 'signed out']);
  await connection.start();
  expect(log).toEqual([
    ...['open', 'state of 0', 'a', 'lost, wait 1000'],
    ...['lost, wait 2000', 'lost, wait 4000'],
    ...['open', 'state of 0', 'b', 'lost, wait 1000'],
    'signed out',
  ]);
});

test('changes are asked for before the state: none is missed between', async () => {
  const { connection, log } = scripted([[]]);
  await connection.start();
  expect(log.indexOf('open')).toBeLessThan(log.indexOf('state of 0'));
});

test('a pause ends when somebody wants to try now', async () => {
  const attempts: string[] = [];
  const connection: LiveConnection = new LiveConnection(
    {
      changes: () => {
        attempts.push('attempt');
        const error = attempts.length === 1 ? [503, 'NOT_READY'] : [401, 'UNAUTHENTICATED'];
        return Promise.reject(new ApiError(Number(error[0]), String(error[1]), ''));
      },
      patients: () => Promise.resolve([]),
    },
    { onState: () => undefined, onChange: () => undefined, onSignedOut: () => undefined },
    {
      now: () => new Date(0),
      random: () => 1,
      // Never by itself.
      sleep: (_ms, signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            resolve();
          });
          connection.retry();
        }),
    },
  );
  await connection.start();
  expect(attempts).toHaveLength(2);
});

test('nothing is tried any more once it is stopped', async () => {
  const { connection, log } = scripted([['a', 'b'], ['c']]);
  const running = connection.start();
  connection.stop();
  await running;
  expect(log).toEqual(['open', 'state of 0']);
});

test('pauses have an end, and differ between pages', () => {
  expect(pauseMs(20, 1)).toBe(15_000);
  expect(pauseMs(20, 0)).toBe(7_500);
});
