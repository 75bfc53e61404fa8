import { expect, it } from 'vitest';

import { alarmPolicy, parseAlarmRules } from './policy.js';

it('reads rules', () => {
  expect(parseAlarmRules('1:20/30,3:5/10')).toEqual([
    { level: 1, count: 20, of: 30 },
    { level: 3, count: 5, of: 10 },
  ]);
  expect(parseAlarmRules('2:1/1')).toEqual([{ level: 2, count: 1, of: 1 }]);
  expect(alarmPolicy().levels.length).toBeGreaterThan(0);
});

it.each([
  ...[
    '',
    '1',
    '1:2',
    '1:2/3,',
    '1:31/30',
    '0:1/1',
    '16:1/1',
    '1:0/1',
    '1:1/0',
    '1:1/4097',
    '1:-1/3',
  ],
  ...['1:1/2,1:2/2', '3:5/10,1:20/30', 'x:1/2', '1:1.5/3', '1:1/2;2:1/2'],
  Array.from({ length: 9 }, (_, i) => `${String(i + 1)}:1/1`).join(),
])('refuses %j', (text) => {
  expect(parseAlarmRules(text)).toBeUndefined();
});
