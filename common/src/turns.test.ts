import { setImmediate as nextTurn } from 'node:timers/promises';

import { expect, it } from 'vitest';

import { Turns } from './turns.js';

it('lets one caller go in each turn of the event loop, in the order in which they came', async () => {
  const turns = new Turns();
  const gone: number[] = [];
  for (const caller of [1, 2, 3]) void turns.next().then(() => gone.push(caller));
  const seen: number[] = [];
  while (gone.length < 3) {
    await nextTurn();
    seen.push(gone.length);
  }
  expect(gone).toEqual([1, 2, 3]);
  const steps = seen.map((count, i) => count - (seen[i - 1] ?? 0));
  expect(Math.max(...steps)).toBe(1);
});

it('goes on after a time in which nobody waited', async () => {
  const turns = new Turns();
  await turns.next();
  await nextTurn();
  await nextTurn();
  await turns.next();
});
