import fc from 'fast-check';
import { expect, it } from 'vitest';

import type { LevelRule } from './alarm.js';
import { observationOf, Persistence, type Observation } from './persistence.js';

const rule: fc.Arbitrary<LevelRule> = fc
  .record({ level: fc.integer({ min: 1, max: 3 }), of: fc.integer({ min: 1, max: 12 }) })
  .chain(({ level, of }) =>
    fc.record({
      level: fc.constant(level),
      of: fc.constant(of),
      count: fc.integer({ min: 1, max: of }),
    }),
  );
const observation = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 0, max: 3 }) },
  { weight: 2, arbitrary: fc.constant('nothing' as const) },
  { weight: 1, arbitrary: fc.constant('anew' as const) },
);

/** From the definition: the last `of` levels since the baseline was last learnt. */
function slowly(rules: readonly LevelRule[], observations: readonly Observation[]): number[] {
  const levels = observations
    .slice(observations.lastIndexOf('anew') + 1)
    .filter((one) => typeof one === 'number');
  return rules.map(({ level, of }) => levels.slice(-of).filter((one) => one >= level).length);
}

it('counts what the definition says, sample by sample', () => {
  fc.assert(
    fc.property(
      fc.array(rule, { minLength: 1, maxLength: 4 }),
      fc.array(observation, { maxLength: 60 }),
      (rules, observations) => {
        const persistence = new Persistence(rules);
        observations.forEach((one, i) => {
          const expected = slowly(rules, observations.slice(0, i + 1));
          // To look ahead changes nothing.
          expect(persistence.after(one)).toEqual(expected);
          persistence.add(one);
          expect(persistence.after('nothing')).toEqual(expected);
        });
      },
    ),
  );
});

it('takes of a distance on which side of the threshold it is', () => {
  const scored = { kind: 'scored', model: 1, latencyMs: 1 } as const;
  const distance = { kind: 'distance', squaredDistance: 77 } as const;
  const level = { kind: 'level', level: 3 } as const;
  expect(observationOf({ ...scored, outlier: true, statistic: distance })).toBe(1);
  expect(observationOf({ ...scored, outlier: false, statistic: distance })).toBe(0);
  expect(observationOf({ ...scored, outlier: true, statistic: level })).toBe(3);
  expect(observationOf({ kind: 'learning' })).toBe('anew');
  expect(observationOf({ kind: 'unscorable' })).toBe('nothing');
});
