import { expect, test } from 'vitest';

import { alarm, points } from './fixture.js';
import { clockTime, describeAlarm, describeLevel, describeRecent, duration } from './wording.js';

test('a strip in words', () => {
  expect(describeRecent([])).toBe('no samples yet');
  expect(describeRecent(points([-1, -2, 0, 0, 3]))).toBe(
    'of the last 5 samples 1 is at level 3, 2 are at level 0, 1 is learnt from, 1 is without a level',
  );
});

test('a level is never a bare number', () => {
  expect([-2, -1, 0, 3].map((level) => describeLevel(level, 3))).toEqual([
    ...['no level', 'learning', 'level 0 of 3', 'level 3 of 3'],
  ]);
});

test('alarms in words', () => {
  const rule = { level: 1, count: 20, of: 30 };
  expect(describeAlarm(alarm('a:1', { rule }), 3)).toBe('level 1 or more in 20 of 30 samples');
  expect(describeAlarm(alarm('a:1'), 3)).toBe('level 3 in 5 of 10 samples');
  const now = new Date().toISOString();
  expect(describeAlarm(alarm('a:1', { kind: 'silence', since: now }))).toContain(clockTime(now));
});

test('times of another day say which', () => {
  const now = new Date(2026, 0, 2, 8, 0, 0);
  expect(clockTime(new Date(2026, 0, 2, 7, 5, 9), now)).toBe('07:05:09');
  expect(clockTime(new Date(2026, 0, 1, 7, 5, 9), now)).toMatch(/2026.*07:05:09$/);
});

test.each([
  [0, '0 s'],
  [59_000, '59 s'],
  [61_000, '1 min 1 s'],
  [3_600_000, '1 h'],
  [93_784_000, '1 d 2 h'],
])('%i ms are %s', (ms, text) => {
  expect(duration(ms)).toBe(text);
});
