import { expect, test } from 'vitest';

import { FleetStore } from './fleet-store.js';
import { points, summary } from './fixture.js';

function manual() {
  const tasks: (() => void)[] = [];
  const store = new FleetStore((task) => tasks.push(task));
  const run = (): void => {
    for (const task of tasks.splice(0)) task();
  };
  return { store, tasks, run };
}

test('many changes are shown at once', () => {
  const { store, tasks, run } = manual();
  let shown = 0;
  store.view.subscribe(() => (shown += 1));
  store.replace([summary('a'), summary('b')]);
  for (let i = 1; i <= 1_000; i++) {
    store.apply({ summary: summary('a', { recent: points([0], i) }), changed: [] });
  }
  expect(tasks).toHaveLength(1);
  run();
  expect(shown).toBe(2);
  expect(store.view.value?.get('a')?.recent).toEqual([[1_000, 1_000_000, 0]]);
  expect(store.view.value?.size).toBe(2);
});

test('a change that the full state has overtaken is left out', () => {
  const { store, run } = manual();
  store.replace([summary('a', { recent: points([0, 3]) })]);
  store.apply({ summary: summary('a', { recent: points([0]) }), changed: [] });
  run();
  expect(store.view.value?.get('a')?.recent).toHaveLength(2);
});

test('nothing stays when it is cleared', () => {
  const { store } = manual();
  store.replace([summary('a')]);
  store.clear();
  expect(store.view.value).toBeUndefined();
});
