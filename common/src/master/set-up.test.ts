import { describe, expect, it } from 'vitest';

import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { PUBLIC_TEST_PRIMES } from '../../../harness/src/local/test-primes.js';
import { createPortableEngine } from '../modular/index.js';
import { bitLength } from '../integers.js';
import { setUp, systemSafePrimes, type SafePrimeSource } from './set-up.js';

const engine = createPortableEngine({ threads: 0 });
const [p, q] = PUBLIC_TEST_PRIMES[512];

const from = (primes: bigint[]): SafePrimeSource => {
  return () => {
    const prime = primes.shift();
    return prime === undefined
      ? Promise.reject(new Error('no more primes'))
      : Promise.resolve(prime);
  };
};

describe('set-up', () => {
  it('draws two safe primes of half the length from the system', async () => {
    const key = await setUp({ bits: 512, family: 'residue' }, engine, new SeededRandom('system'));
    const factors = key.factors.reveal();
    expect(bitLength(factors.p * factors.q)).toBe(512);
    expect(key.parameters.modulus).toBe(factors.p * factors.q);
    expect(factors.p).not.toBe(factors.q);
  });

  it('asks for another pair where both primes are the same', async () => {
    const primes = [p, p, p, q];
    const key = await setUp(
      { bits: 512, family: 'bcp03' },
      engine,
      new SeededRandom('same'),
      from(primes),
    );
    expect(key.factors.reveal()).toEqual({ p, q });
    expect(primes).toEqual([]);
  });

  it('asks for another pair where the product is too short', async () => {
    const short: bigint[] = [];
    while (short.length < 1) {
      const prime = await systemSafePrimes(254);
      short.push(prime);
    }
    const primes = [p, ...short, p, q];
    const key = await setUp(
      { bits: 512, family: 'residue' },
      engine,
      new SeededRandom('short'),
      from(primes),
    );
    expect(key.parameters.bits).toBe(512);
    expect(primes).toEqual([]);
  });

  it('refuses what a broken source of primes gives', async () => {
    for (const pair of [
      [p - 2n, q],
      [p, q + 4n],
    ]) {
      await expect(
        setUp(
          { bits: 512, family: 'residue' },
          engine,
          new SeededRandom('broken'),
          from([...pair]),
        ),
      ).rejects.toMatchObject({ code: 'PARAMETERS_INVALID', details: { field: 'modulus' } });
    }
  });

  it('refuses a length that the software does not handle', async () => {
    for (const bits of [256, 510]) {
      await expect(
        setUp({ bits, family: 'residue' }, engine, new SeededRandom('length')),
      ).rejects.toMatchObject({ code: 'PARAMETERS_INVALID', details: { field: 'modulus' } });
    }
  });

  it('draws other generators for other randomness, the same for the same', async () => {
    const generator = async (seed: string) =>
      (await setUp({ bits: 512, family: 'residue' }, engine, new SeededRandom(seed), from([p, q])))
        .parameters.generator;
    expect(await generator('a')).toBe(await generator('a'));
    expect(await generator('a')).not.toBe(await generator('b'));
  });
});
