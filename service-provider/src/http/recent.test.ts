import { expect, test } from 'vitest';

import { StandingClock } from './fixture.js';
import { Recent } from './recent.js';

test('quantiles are of the last five minutes, by nearest rank', () => {
  const clock = new StandingClock();
  const recent = new Recent(clock);
  expect(recent.quantiles()).toEqual({ p50: null, p95: null, p99: null });
  recent.add(1_000_000);
  clock.advance(300_001);
  for (let i = 100; i >= 1; i -= 1) recent.add(i);
  expect(recent.quantiles()).toEqual({ p50: 50, p95: 95, p99: 99 });
});

test('the rate is that of the last minute, also where more comes than is kept', () => {
  const clock = new StandingClock();
  const recent = new Recent(clock);
  expect(recent.perSecond()).toBe(0);
  for (let i = 0; i < 30; i += 1) recent.add(5);
  expect(recent.perSecond()).toBe(0.5);
  clock.advance(60_001);
  expect(recent.perSecond()).toBe(0);
  for (let i = 0; i < 60_000; i += 1) {
    clock.advance(1);
    recent.add(5);
  }
  expect(recent.perSecond()).toBeGreaterThan(990);
  expect(recent.perSecond()).toBeLessThan(1010);
});
