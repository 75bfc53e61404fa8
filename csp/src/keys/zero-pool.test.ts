import { setTimeout as sleep } from 'node:timers/promises';

import { AdditiveKey, type AdditiveCiphertext } from '@duoveil/common/paillier';
import type { ModularEngine } from '@duoveil/common/modular';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../../harness/src/local/engine.js';
import { providerKeyForTests } from '../../../harness/src/local/packed.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { ZeroPool } from './zero-pool.js';

const engine = testEngine();
afterAll(() => engine.close());

/** Encryptions that a full pool holds. */
const CAPACITY = 8;

let own: Awaited<ReturnType<typeof providerKeyForTests>>;
beforeAll(async () => {
  own = await providerKeyForTests(512, engine, new SeededRandom('zero pool'));
});

/** A provider whose draws are counted, and fail as long as they are told to. */
function counted() {
  const state = { draws: 0, failing: false };
  const ring = own.key.ring;
  const watched = new Proxy(ring, {
    get(target, name) {
      if (name !== 'powers') {
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      }
      return (...args: Parameters<typeof ring.powers>) => {
        state.draws += 1;
        return state.failing
          ? Promise.reject(new Error('no arithmetic today'))
          : target.powers(...args);
      };
    },
  });
  const watchedEngine = { ...engine, ring: () => watched } as unknown as ModularEngine;
  const { modulus, generator } = own.key;
  const key = new AdditiveKey({ modulus, generator }, watchedEngine);
  return { state, pool: new ZeroPool({ key, zeros: key }) };
}

/** Waits until something holds; the test's own limit is the deadline. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(2);
}

/** Takes until there is one. */
async function taken(pool: ZeroPool): Promise<AdditiveCiphertext> {
  for (;;) {
    const zero = pool.take();
    if (zero !== undefined) return zero;
    await sleep(2);
  }
}

describe('a pool of zeros', () => {
  it('hands out encryptions of zero, and none of them twice', async () => {
    const { pool } = counted();
    const zeros = [];
    for (let i = 0; i < 40; i++) zeros.push(await taken(pool));
    expect(new Set(zeros.map(String)).size).toBe(40);
    expect(await own.opening.open(zeros)).toEqual(Array(40).fill(0n));
  });

  it('has nothing at first, and never waits', () => {
    const { pool } = counted();
    expect(pool.take()).toBeUndefined();
  });

  it('is bounded: it draws no more than it holds, however often it is filled', async () => {
    const { pool, state } = counted();
    for (let i = 0; i < 50; i++) pool.refill();
    await until(() => state.draws >= CAPACITY);
    await sleep(50);
    expect(state.draws).toBe(CAPACITY);
    for (let i = 0; i < 50; i++) pool.refill();
    await sleep(20);
    expect(state.draws).toBe(CAPACITY);
    // What is taken is drawn again, and no more than that.
    expect(pool.take()).toBeDefined();
    await until(() => state.draws > CAPACITY);
    await sleep(50);
    expect(state.draws).toBe(CAPACITY + 1);
  });

  it('hands out one each to callers at once', async () => {
    const { pool, state } = counted();
    pool.refill();
    await until(() => state.draws >= CAPACITY);
    await sleep(50);
    const zeros = Array.from({ length: CAPACITY + 4 }, () => pool.take());
    const ready = zeros.filter((zero) => zero !== undefined);
    expect(ready).toHaveLength(CAPACITY);
    expect(new Set(ready.map(String)).size).toBe(CAPACITY);
  });

  it('survives a failure: it is short meanwhile, and full again afterwards', async () => {
    const { pool, state } = counted();
    state.failing = true;
    for (let i = 0; i < 3; i++) {
      const { draws } = state;
      expect(pool.take()).toBeUndefined();
      await until(() => state.draws > draws);
      await sleep(5);
    }
    state.failing = false;
    expect(await own.opening.open([await taken(pool)])).toEqual([0n]);
  });
});
