/** `duoveil run --json`, whole: processes, TLS, real recordings, results known in advance. */
import { describe, expect, test } from 'vitest';

import { EXPECTED_CONFIGURATIONS, listRecordings, readExpected } from '../src/recordings.js';
import type { ExpectedConfiguration } from '../src/recordings.js';
import { duoveil, LONG, readResults, REFERENCE, scratch, SHORT_KEY } from './support/duoveil.js';
import { exactly, expectedOf, expectRows, recording } from './support/recordings.js';

const families = ['residue', 'bcp03'] as const;

interface Case {
  readonly id: string;
  readonly configuration: ExpectedConfiguration;
  readonly family: (typeof families)[number];
  /** Data rows. */
  readonly limit: number;
}

const cases: readonly Case[] = [
  { id: '01', configuration: 'fixed20', family: 'residue', limit: 70 },
  { id: '25', configuration: 'rolling60', family: 'bcp03', limit: 73 },
];

const whole: readonly Case[] = (listRecordings() ?? [])
  .filter((one) => readExpected(one, 'fixed20') !== undefined)
  .flatMap(({ id }) =>
    (Object.keys(EXPECTED_CONFIGURATIONS) as ExpectedConfiguration[]).flatMap((configuration) =>
      families.map((family) => ({ id, configuration, family, limit: 481 })),
    ),
  );

describe('duoveil run --json', () => {
  test.each(LONG ? [...cases, ...whole] : cases)(
    'recording $id, $configuration, $family, $limit rows: what exact arithmetic gives',
    async ({ id, configuration, family, limit }) => {
      const input = recording(id, scratch());
      const { window, baseline, retrainEvery } = EXPECTED_CONFIGURATIONS[configuration];
      const { code, output } = await duoveil([
        'run',
        ...['--input', input.path, '--limit', String(limit), '--json'],
        ...['--window', String(window), '--baseline', baseline],
        ...(baseline === 'rolling' ? ['--retrain-every', String(retrainEvery)] : []),
        ...['--generator', family, ...SHORT_KEY, ...REFERENCE],
      ]);
      expect(code).toBe(0);
      const { rows, summary } = readResults(output);
      const expected = expectedOf(input, configuration).slice(0, limit);
      expectRows(rows, expected);
      const scored = expected.filter((row) => 'outlier' in row);
      expect(summary).toEqual({
        rows: limit,
        scored: scored.length,
        outliers: scored.filter(({ outlier }) => outlier).length,
        skipped: expected.filter((row) => 'skipped' in row).length,
        trainMs: expect.any(Number) as number,
        scoreMsMedian: expect.any(Number) as number,
        bytesPerSample: expect.any(Number) as number,
        suite: 'reference',
        output: 'distance',
        keyBits: 512,
      });
      // Four ciphertexts of twice 128 bytes, and little else.
      expect(summary.bytesPerSample).toBeGreaterThan(1024);
      expect(summary.bytesPerSample).toBeLessThan(1100);
    },
    LONG ? 600_000 : 120_000,
  );

  test.each([
    { keyBits: 1024, insecure: ['--insecure-key-bits'] },
    { keyBits: 2048, insecure: [] },
  ])('$keyBits bits', async ({ keyBits, insecure }) => {
    const input = recording('01', scratch());
    const channels = ['HR', 'SpO2'];
    const { code, output } = await duoveil([
      'run',
      ...['--input', input.path, '--limit', '9', '--json'],
      ...['--channels', channels.join(','), '--window', '6', '--baseline', 'fixed'],
      ...['--key-bits', String(keyBits), ...insecure, ...REFERENCE],
    ]);
    expect(code).toBe(0);
    const { rows, summary } = readResults(output);
    const configuration = { channels, window: 6, baseline: 'fixed', retrainEvery: 0 } as const;
    expectRows(rows, exactly(input, configuration).slice(0, 9));
    expect(summary).toMatchObject({ rows: 9, scored: 3, keyBits });
  });
});
