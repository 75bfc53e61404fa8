/** `duoveil run` while its parties are ended as by a power failure, again and again. */
import { describe, expect, test } from 'vitest';

import type { Observed } from '../src/parties/observed.js';
import { descendantsOf } from '../src/parties/processes.js';
import { seededPrng } from '../src/simulation/prng.js';
import {
  LONG,
  PACKED,
  readResults,
  REFERENCE,
  scratch,
  SHORT_KEY,
  start,
} from './support/duoveil.js';
import { exactly, expectRows, recording } from './support/recordings.js';
import type { Configuration } from './support/recordings.js';

const PARTIES = {
  csp: 'csp/dist/main.js serve',
  sp: 'service-provider/dist/main.js serve',
  gateway: 'gateway/dist/main.js stream',
} as const;
type Party = keyof typeof PARTIES;

/**
 * Ends a party at once; waits for it where it is just being started again.
 * @param party a part of its command line
 * @param killed processes that were killed before: one may be seen yet while it goes
 */
async function kill(run: Observed, party: string, killed: Set<number>): Promise<void> {
  await expect
    .poll(
      () => {
        const found = descendantsOf(run.pid).find(
          ({ pid, command }) => command.includes(party) && !killed.has(pid),
        );
        if (found !== undefined) {
          process.kill(found.pid, 'SIGKILL');
          killed.add(found.pid);
        }
        return found !== undefined;
      },
      { timeout: 30_000, interval: 10 },
    )
    .toBe(true);
}

const PROTOCOLS = { packed: PACKED, reference: REFERENCE } as const;

interface Sweep {
  readonly protocol: keyof typeof PROTOCOLS;
  readonly seed: number;
  readonly rows: number;
  /** How often each party is killed. */
  readonly each: number;
}

const sweeps: readonly Sweep[] = [{ protocol: 'packed', seed: 1, rows: 110, each: 3 }];
const long: readonly Sweep[] = [2, 3, 4].flatMap((seed) => [
  { protocol: 'packed', seed, rows: 481, each: 18 },
  { protocol: 'reference', seed, rows: 300, each: 18 },
]);

describe('a run whose parties are killed', () => {
  test.each(LONG ? [...sweeps, ...long] : sweeps)(
    '$each times each ($protocol, seed $seed), tells every row once, and right',
    async ({ protocol, seed, rows, each }) => {
      const prng = seededPrng(seed);
      const input = recording('01', scratch());
      const configuration: Configuration = { window: 20, baseline: 'rolling', retrainEvery: 5 };
      const run = start([
        ...['run', '--json', '--input', input.path, '--limit', String(rows)],
        ...['--window', '20', '--baseline', 'rolling', '--retrain-every', '5'],
        ...[...SHORT_KEY, ...PROTOCOLS[protocol]],
      ]);
      const victims = Array.from({ length: each }, () => Object.keys(PARTIES) as Party[])
        .flat()
        .map((party) => ({ party, draw: prng.uniform() }))
        .sort((a, b) => a.draw - b.draw);
      // From the first moment on, and well before the last row.
      const moments = victims.map(() => prng.integer(0, rows - 20)).sort((a, b) => a - b);
      const killed = new Set<number>();
      // What is done once, in the beginning, is done again where it was killed.
      await kill(run, 'csp/dist/main.js init', killed);
      await kill(run, 'gateway/dist/main.js enrol', killed);
      for (const [i, { party }] of victims.entries()) {
        await run.until(() => run.output.length >= (moments[i] ?? 0));
        await kill(run, PARTIES[party], killed);
      }
      expect(await run.ended).toMatchObject({ code: 0 });
      const results = readResults(run.output);
      expectRows(results.rows, exactly(input, configuration).slice(0, rows));
      expect(results.summary).toMatchObject({ rows });
      const told = run.log.filter((line) => line.includes('was ended by SIGKILL'));
      // The enrolment is no party: it is not told.
      expect(told).toHaveLength(victims.length + 1);
    },
    LONG ? 600_000 : 120_000,
  );
});
