import { expect, it } from 'vitest';

import { Attempts } from './attempts.js';

it('lets a caller fail five times a minute, and others meanwhile', () => {
  let now = 0;
  const attempts = new Attempts({ now: () => new Date(0), monotonicMs: () => now });
  const allowed = (caller: string): unknown => {
    try {
      attempts.require(caller);
      return true;
    } catch (error) {
      return error;
    }
  };
  for (let i = 0; i < 5; i += 1) {
    expect(allowed('a')).toBe(true);
    attempts.failed('a');
    now += 1000;
  }
  expect(allowed('a')).toMatchObject({ code: 'OVERLOADED', details: { retryAfterMs: 55_000 } });
  expect(allowed('b')).toBe(true);
  now = 60_000;
  expect(allowed('a')).toBe(true);
  attempts.failed('a');
  expect(allowed('a')).toMatchObject({ details: { retryAfterMs: 1000 } });
});
