import { describe, expect, it } from 'vitest';

import { PreparedScore } from '../../../common/src/protocols/packed/score.js';
import { PreparationPool } from './preparation-pool.js';

/** Preparations that can be told apart, made one turn of the event loop after they were asked for. */
function workshop() {
  const made: PreparedScore[] = [];
  const state = { failing: false };
  const prepare = async (): Promise<PreparedScore> => {
    await new Promise(setImmediate);
    if (state.failing) throw new Error('nothing can be prepared');
    const one = new PreparedScore({
      featureMasks: [BigInt(made.length)],
      crossTermMask: 0n,
      factors: [],
    });
    made.push(one);
    return one;
  };
  return { made, state, pool: new PreparationPool(prepare) };
}

const settled = async () => {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
};

describe('a preparation pool', () => {
  it('prepares on the spot where nothing is ready', async () => {
    const { pool, made } = workshop();
    expect(pool.size).toBe(0);
    const one = await pool.take();
    expect(made).toEqual([one]);
    await settled();
    expect(made).toHaveLength(1);
  });

  it('never hands out the same twice, however it is asked', async () => {
    const { pool, made } = workshop();
    const taken: PreparedScore[] = [];
    for (let round = 0; round < 10; round++) {
      pool.refill();
      taken.push(...(await Promise.all(Array.from({ length: round }, () => pool.take()))));
      pool.refill();
      if (round % 3 === 0) await settled();
    }
    expect(new Set(taken).size).toBe(45);
    await settled();
    expect(made.filter((one) => !taken.includes(one))).toHaveLength(pool.size);
    // Each is fresh: its masks were not taken out by anybody.
    for (const one of taken) expect(one.take().featureMasks).toHaveLength(1);
  });

  it('is bounded, however often it is refilled', async () => {
    const { pool, made } = workshop();
    for (let i = 0; i < 50; i++) pool.refill();
    await settled();
    for (let i = 0; i < 50; i++) pool.refill();
    await settled();
    expect(pool.size).toBe(3);
    expect(made).toHaveLength(3);
  });

  it('refills after each use', async () => {
    const { pool, made } = workshop();
    pool.refill();
    await settled();
    for (let use = 1; use <= 5; use++) {
      const one = await pool.take();
      expect(pool.size).toBe(2);
      expect(made).toContain(one);
      pool.refill();
      await settled();
      expect(pool.size).toBe(3);
      expect(made).toHaveLength(3 + use);
    }
  });

  it('survives a preparation that fails: who needs one hears of it, and later ones succeed', async () => {
    const { pool, made, state } = workshop();
    state.failing = true;
    pool.refill();
    await settled();
    expect(pool.size).toBe(0);
    await expect(pool.take()).rejects.toThrow('nothing can be prepared');
    state.failing = false;
    pool.refill();
    await settled();
    expect(pool.size).toBe(3);
    state.failing = true;
    expect(made).toContain(await pool.take());
    pool.refill();
    await settled();
    expect(pool.size).toBe(2);
  });
});
