/** What only the portable engine has: its threads, and its care for the event loop. */
import { describe, expect, it } from 'vitest';

import { power } from './kernel.js';
import { createPortableEngine } from './portable.js';
import { WorkerPool } from './worker-pool.js';

const MODULUS = (1n << 2048n) - 1942289n; // odd, of no known use
const jobs = Array.from({ length: 24 }, (_, i) => ({
  base: 3n + BigInt(i),
  exponent: (1n << 2047n) + BigInt(i),
}));

/** How many turns the event loop takes while something is under way. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let [turns, running] = [0, true];
  const turn = () => {
    turns++;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  running = false;
  return turns;
}

describe('the event loop', () => {
  it('takes turns during a batch on the calling thread', async () => {
    const ring = createPortableEngine({ threads: 0 }).ring(MODULUS);
    expect(await turnsDuring(() => ring.powers(jobs))).toBeGreaterThan(jobs.length / 4);
  });

  it('takes turns during a batch on other threads', async () => {
    const engine = createPortableEngine({ threads: 1 });
    const ring = engine.ring(MODULUS);
    expect(await turnsDuring(() => ring.powers(jobs))).toBeGreaterThan(jobs.length / 4);
    await engine.close();
  });

  it('would take none in a batch without pauses', async () => {
    const turns = await turnsDuring(async () => {
      await Promise.resolve();
      return jobs.map((job) => power(MODULUS, job));
    });
    expect(turns).toBe(0);
  });
});

describe('the threads', () => {
  it('reject, when they are closed, what runs and what waits', async () => {
    const engine = createPortableEngine({ threads: 1 });
    const ring = engine.ring(MODULUS);
    const settled = Promise.allSettled(jobs.map((job) => ring.powers([job])));
    await engine.close();
    for (const result of await settled) {
      expect(result).toMatchObject({
        status: 'rejected',
        reason: { message: 'the arithmetic engine was closed' },
      });
    }
    await expect(ring.powers(jobs)).rejects.toThrow('closed');
  });

  it('take nothing after they were closed, and are closed twice without harm', async () => {
    const pool = new WorkerPool(1);
    await pool.close();
    await pool.close();
    await expect(pool.run({ kind: 'powers', modulus: 7n, jobs: [] })).rejects.toThrow('closed');
  });
});
