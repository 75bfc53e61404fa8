/** What the ward's rules make of the demonstration's patients, computed in the clear. */
import { parseMonitoringOptions } from '@duoveil/gateway/parts';
import { expect, test } from 'vitest';

import { replay } from '../oracle/index.js';
import { cycle, wardPatients, WARD_SEEDS, WARD_WINDOW } from './ward-patients.js';

test.each(WARD_SEEDS.map((seed, i) => [seed, i === WARD_SEEDS.length - 1] as const))(
  'seed %i raises an alarm within a minute: %s',
  async (seed, deteriorates) => {
    const rows = cycle(seed, deteriorates);
    const levels = await levelsOf([...rows, ...rows]);
    const raised = levels.findIndex((_, i) => holds(levels.slice(0, i + 1)));
    if (deteriorates) {
      expect(raised).toBeGreaterThan(WARD_WINDOW);
      expect(raised).toBeLessThan(60);
      // It is over before it begins anew.
      expect(holds(levels.slice(0, rows.length))).toBe(false);
    } else expect(raised).toBe(-1);
  },
);

test('recordings go on for half a day, a row a second', () => {
  const lines = wardPatients().map(({ recording }) => recording.trimEnd().split('\n'));
  expect(lines.map((one) => one[0])).toEqual(
    lines.map(() => expect.stringMatching(/^Time \[s\],/) as string),
  );
  for (const one of lines) {
    expect(one.length).toBeGreaterThan(42_000);
    expect(one.at(-1)).toMatch(new RegExp(`^${String(one.length - 2)},`));
  }
});

/** Levels of the rows; -1 while the baseline fills. */
async function levelsOf(rows: ReturnType<typeof cycle>): Promise<number[]> {
  const { schema, policy } = await parseMonitoringOptions({ window: String(WARD_WINDOW) });
  const thresholds = [policy.thresholdScaled, ...policy.higherThresholdsScaled].map(
    (scaled) => Number(scaled) / 2 ** 16,
  );
  return replay(rows, schema, policy).map((result) =>
    'md2' in result ? thresholds.filter((threshold) => result.md2 > threshold).length : -1,
  );
}

/** Whether one of {@link WARD_RULES} holds after these levels. */
function holds(levels: readonly number[]): boolean {
  const atLeast = (level: number, of: number): number =>
    levels.slice(-of).filter((one) => one >= level).length;
  return atLeast(1, 30) >= 20 || atLeast(3, 10) >= 5;
}
