import { expect, test } from 'vitest';

import { matches, mergeAlarms } from './alarm-list.js';
import { AlarmHerald } from './announcements.js';
import { alarm, summary } from './fixture.js';

const acknowledged = { by: 'a', at: '2026-01-01T00:01:00.000Z' };

test('changed alarms take the place of what was known, new ones come by their time', () => {
  const old = alarm('a:1');
  const newer = alarm('b:1', { raisedAt: '2026-01-02T00:00:00.000Z' });
  const changed = { ...old, acknowledged };
  expect(mergeAlarms([old], [changed, newer])).toEqual([newer, changed]);
});

test.each([
  [{}, true],
  [{ active: true }, true],
  [{ active: false }, false],
  [{ acknowledged: true }, false],
  [{ kind: 'level' }, true],
  [{ kind: 'gap' }, false],
  [{ patient: 'WARD' }, true],
  [{ patient: 'icu' }, false],
] as const)('the filter %j lets an open alarm of ward-1 through: %s', (filter, through) => {
  expect(matches(alarm('ward-1:1'), filter)).toBe(through);
});

test('each alarm is told of once, and once more when it is escalated', () => {
  const herald = new AlarmHerald();
  const tell = (what: Parameters<typeof alarm>[1]) =>
    herald.announce({ summary: summary('a'), changed: [alarm('a:1', what)] });
  expect(tell({})).toEqual(['New alarm: a, level 3 in 5 of 10 samples']);
  expect(tell({})).toEqual([]);
  const escalatedAt = '2026-01-01T00:05:00.000Z';
  expect(tell({ escalatedAt })).toEqual(['Alarm escalated: a, level 3 in 5 of 10 samples']);
  expect(tell({ escalatedAt })).toEqual([]);
});

test('nobody is told of an alarm that is suppressed, over or acknowledged', () => {
  const changed = [
    alarm('a:1', { suppressed: true }),
    alarm('a:2', { clearedAt: '2026-01-01T00:01:00.000Z' }),
    alarm('a:3', { acknowledged }),
  ];
  expect(new AlarmHerald().announce({ summary: summary('a'), changed })).toEqual([]);
});
