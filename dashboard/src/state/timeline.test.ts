import { expect, test } from 'vitest';

import type { LevelPoint } from '../api/types.js';
import { points } from './fixture.js';
import { append, columns, hasHole, prepend, runsOf, stretches } from './timeline.js';

/** Ten samples with a minute's gap after the fifth. */
const gappy: readonly LevelPoint[] = points([-1, -1, 0, 0, 1, 1, 1, 0, 0, 0]).map(
  ([sequence, at, level]) => [sequence, sequence > 5 ? at + 60_000 : at, level],
);

test('what is known already is not appended again, and a hole is seen', () => {
  const known = points([0, 0, 0]);
  expect(append(known, points([0, 0, 2], 2))).toEqual(points([0, 0, 0, 2]));
  expect(append(known, points([0, 0], 2))).toBe(known);
  expect(hasHole(known, points([1], 4))).toBe(false);
  expect(hasHole(known, points([1], 5))).toBe(true);
  expect(prepend(points([1], 3), points([0, 0, 0]))).toEqual(points([0, 0, 1]));
});

test('runs end where the level changes and where nothing was measured', () => {
  expect(runsOf(gappy).map(({ level, samples, afterGap }) => [level, samples, afterGap])).toEqual([
    [0, 3, false],
    [1, 2, true],
    [1, 1, false],
    [0, 2, false],
    [-1, 2, false],
  ]);
});

test('a gap and what has no level are holes in the drawing', () => {
  const [seconds, levels] = columns(gappy);
  expect(levels).toEqual([null, null, 0, 0, 1, null, 1, 1, 0, 0, 0]);
  expect(seconds).toEqual([...seconds].sort((a, b) => a - b));
  expect(stretches(gappy)).toEqual([
    { what: 'learning', fromMs: 1_000, toMs: 3_000 },
    { what: 'gap', fromMs: 5_000, toMs: 66_000 },
  ]);
});

test('a clock that goes back does not turn the drawing around', () => {
  const [seconds] = columns([
    [1, 5_000, 0],
    [2, 3_000, 0],
    [3, 6_000, 0],
  ]);
  expect(seconds).toEqual([5, 5, 6]);
});
