import { expect, test } from 'vitest';

import { alarm, points, summary } from './fixture.js';
import { arrange, levelNow, WORST_FIRST } from './ranking.js';

const cleared = { clearedAt: '2026-01-01T00:01:00.000Z' };
const acknowledged = { acknowledged: { by: 'a', at: '2026-01-01T00:01:00.000Z' } };
const low = { rule: { level: 1, count: 20, of: 30 } };

test('whoever needs somebody comes first', () => {
  const inOrder = [
    summary('p-9', { alarms: [alarm('p-9:1')] }),
    summary('p-8', { alarms: [alarm('p-8:1', low)] }),
    summary('p-7', { alarms: [alarm('p-7:1', { kind: 'silence' })] }),
    summary('p-6', { alarms: [alarm('p-6:1', acknowledged)] }),
    summary('p-5', { alarms: [alarm('p-5:1', cleared)] }),
    summary('p-4', { recent: points([0, 3, 0]) }),
    summary('p-3', { recent: points([0, 1, 0]) }),
    summary('p-1'),
    summary('p-2'),
    summary('p-10'),
  ];
  const shuffled = [3, 8, 0, 9, 5, 1, 7, 2, 6, 4].flatMap((i) => inOrder[i] ?? []);
  expect(arrange(shuffled, '', WORST_FIRST)).toEqual(inOrder);
});

test('a search finds parts of pseudonyms, whatever their case', () => {
  const fleet = ['Ward-1', 'icu-1', 'ward-2'].map((name) => summary(name));
  const found = arrange(fleet, ' WARD ', { key: 'patient', descending: true });
  expect(found.map(({ patient }) => patient)).toEqual(['ward-2', 'Ward-1']);
});

test('patients without what is sorted by come last when the highest is first', () => {
  const fleet = [
    summary('learning', { recent: points([-1]) }),
    summary('new'),
    summary('calm', { recent: points([0]) }),
    summary('high', { recent: points([2]) }),
  ];
  const order = { key: 'level', descending: true } as const;
  expect(arrange(fleet, '', order).map(({ patient }) => patient)).toEqual([
    ...['high', 'calm', 'learning', 'new'],
  ]);
  expect(fleet.map(levelNow)).toEqual([undefined, undefined, 0, 2]);
});
