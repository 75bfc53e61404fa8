import { checkPrimeSync } from 'node:crypto';
import { inspect } from 'node:util';

import { describe, expect, it } from 'vitest';

import { setUpForTests } from '../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { PUBLIC_TEST_PRIMES } from '../../../harness/src/local/test-primes.js';
import { publicParameters, type GeneratorFamily } from '../bcp/parameters.js';
import { createPortableEngine } from '../modular/index.js';
import { inverses, jacobi, power } from '../modular/kernel.js';
import { Secret } from '../secret.js';
import { checkMasterKey, decodeMasterKey, encodeFactors, type MasterKey } from './master-key.js';
import { setUp, systemSafePrimes } from './set-up.js';

type Factors = ReturnType<MasterKey['factors']['reveal']>;

const engine = createPortableEngine({ threads: 0 });
const [p, q] = PUBLIC_TEST_PRIMES[512];
const N = p * q;

/** The first prime from `start` on that has the property. */
function primeFrom(start: bigint, property: (prime: bigint) => boolean): bigint {
  let candidate = start | 1n;
  while (!checkPrimeSync(candidate) || !property(candidate)) candidate += 2n;
  return candidate;
}

const isSafe = (prime: bigint) => checkPrimeSync((prime - 1n) / 2n);

/** The integer modulo `N²` that is `x` modulo `p²` and `y` modulo `q²`. */
function joined(x: bigint, y: bigint): bigint {
  const [square, otherSquare] = [p * p, q * q];
  const [inverse = 0n] = inverses(otherSquare, [square % otherSquare]);
  const [low, high] = [x % square, y % otherSquare];
  const difference = (((high - low) % otherSquare) + otherSquare) % otherSquare;
  return low + square * ((difference * inverse) % otherSquare);
}

describe.each<GeneratorFamily>(['residue', 'bcp03'])('a master key, %s', (family) => {
  const made = setUpForTests(512, family, engine, new SeededRandom(`master/${family}`));
  const otherFamily = family === 'residue' ? 'bcp03' : 'residue';

  const keyOf = (factors: Factors, generator: bigint, of: GeneratorFamily = family): MasterKey => ({
    parameters: publicParameters(of, factors.p * factors.q, generator),
    factors: new Secret(factors),
  });

  const refused = async (key: MasterKey, field: string, says: RegExp, bits = 512) => {
    const error: unknown = await checkMasterKey(key, bits, engine).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'PARAMETERS_INVALID', details: { field } });
    expect((error as Error).message).toMatch(says);
    // Neither factor is in what a peer or a log may see.
    const { p: first, q: second } = key.factors.reveal();
    for (const factor of [first, second].filter((f) => f > 1n)) {
      expect(inspect(error)).not.toContain(factor.toString(16));
      expect(inspect(error)).not.toContain(factor.toString());
    }
  };

  it('passes its own check, with its factors in either order', async () => {
    const key = await made;
    const { parameters } = key;
    await expect(checkMasterKey(key, 512, engine)).resolves.toBeUndefined();
    const swapped = { parameters, factors: new Secret({ p: q, q: p }) };
    await expect(checkMasterKey(swapped, 512, engine)).resolves.toBeUndefined();
  });

  it('is refused at another length than the stated one', async () => {
    const key = await made;
    for (const bits of [510, 511, 513, 514, 1024]) {
      await refused(key, 'modulus', new RegExp(`must have ${bits} bits`), bits);
    }
  });

  it('is refused with factors that are not those of N', async () => {
    const { parameters } = await made;
    const [other] = PUBLIC_TEST_PRIMES[1024];
    for (const factors of [
      { p, q: p },
      { p: q, q },
      { p: p + 2n, q },
      { p, q: other },
      { p: 0n, q: 0n },
      { p: -p, q },
    ]) {
      await refused({ parameters, factors: new Secret(factors) }, 'modulus', /not the product/);
    }
  });

  it('is refused where N is prime', async () => {
    const prime = primeFrom(N, () => true);
    await refused(keyOf({ p: prime, q: 1n }, 4n), 'modulus', /two factors of half its length/);
    await refused(keyOf({ p: 1n, q: prime }, 4n), 'modulus', /two factors of half its length/);
  });

  it('is refused where N is a square', async () => {
    await refused(keyOf({ p, q: p }, 4n), 'modulus', /must not be a square/);
  });

  it('is refused with factors of unequal length', async () => {
    const longer = primeFrom(15n << 256n, () => true);
    const shorter = primeFrom(1n << 252n, () => true);
    await refused(
      keyOf({ p: longer, q: shorter }, 4n),
      'modulus',
      /two factors of half its length/,
    );
  });

  it('is refused with negative factors', async () => {
    await refused(
      keyOf({ p: -p, q: -q }, 4n),
      'modulus',
      /two factors of half|product of two safe/,
    );
  });

  it('is refused with a factor that is no safe prime, or no prime', async () => {
    const start = p - 2n ** 200n;
    const blum = primeFrom(start, (prime) => prime % 4n === 3n && !isSafe(prime));
    const notBlum = primeFrom(start, (prime) => prime % 4n === 1n);
    // Composite, though (x-1)/2 is prime: only the test of the factor itself tells.
    const half = primeFrom(start / 2n, (prime) => !checkPrimeSync(2n * prime + 1n));
    for (const factor of [blum, notBlum, 2n * half + 1n]) {
      await refused(keyOf({ p: factor, q }, 4n), 'modulus', /product of two safe primes/);
      await refused(keyOf({ p: q, q: factor }, 4n), 'modulus', /product of two safe primes/);
    }
  });

  it('is refused where the digest is not that of its parameters', async () => {
    const { parameters, factors } = await made;
    const generator = parameters.generator ** 2n % (N * N);
    const key = { parameters: { ...parameters, generator }, factors };
    await refused(key, 'digest', /does not belong/);
  });

  it('is refused with a generator of the other family, or of both', async () => {
    const other = await setUpForTests(512, otherFamily, engine, new SeededRandom('other family'));
    const { generator } = other.parameters;
    await refused(keyOf({ p, q }, generator), 'generator', /does not have the order/);
    const own = (await made).parameters.generator;
    await refused(keyOf({ p, q }, joined(own, generator)), 'generator', /not have the order/);
    await refused(keyOf({ p, q }, joined(generator, own)), 'generator', /not have the order/);
    // Both halves from one family are what joined() gives back.
    await expect(checkMasterKey(keyOf({ p, q }, joined(own, own)), 512, engine)).resolves.toBe(
      undefined,
    );
  });

  it('is refused with a generator of small order, out of range or not a unit', async () => {
    const { generator } = (await made).parameters;
    for (const bad of [0n, 1n, N * N - 1n, N * N + 1n, N * N + 4n, p, q * q, N, 1n + N]) {
      await refused(keyOf({ p, q }, bad), 'generator', /generator/);
    }
    // Of full order modulo p² only: p' and nothing from q.
    await refused(keyOf({ p, q }, joined(generator, 1n)), 'generator', /square of full order/);
    await refused(keyOf({ p, q }, joined(1n, generator)), 'generator', /square of full order/);
    await refused(keyOf({ p, q }, joined(generator, 1n + q)), 'generator', /full order/);
  });

  it('is refused with a generator that is no square', async () => {
    const { generator } = (await made).parameters;
    // -g is of Jacobi symbol 1 over N, and a square modulo neither prime.
    expect(jacobi(N * N - generator, N)).toBe(1);
    await refused(keyOf({ p, q }, N * N - generator), 'generator', /square of full order/);
    const half = joined(generator, q * q - (generator % (q * q)));
    expect(jacobi(half % N, N)).toBe(-1);
    await refused(keyOf({ p, q }, half), 'generator', /Jacobi symbol 1|square of full order/);
  });

  it('has a generator of exactly the order of its family', async () => {
    const { generator } = (await made).parameters;
    const [pp, qq] = [(p - 1n) / 2n, (q - 1n) / 2n];
    const primes = family === 'residue' ? [pp, qq] : [pp, qq, p, q];
    const order = primes.reduce((product, prime) => product * prime, 1n);
    const raised = (exponent: bigint) => power(N * N, { base: generator, exponent });
    expect(raised(order)).toBe(1n);
    for (const prime of primes) expect(raised(order / prime)).not.toBe(1n);
  });

  it('is sealed and unsealed through bytes of fixed width', async () => {
    const key = await made;
    const bytes = encodeFactors(key);
    expect(bytes).toHaveLength(64);
    const unsealed = await decodeMasterKey(bytes, key.parameters, engine);
    expect(unsealed.factors.reveal()).toEqual(key.factors.reveal());
  });

  it('is not unsealed from other bytes', async () => {
    const key = await made;
    const bytes = encodeFactors(key);
    const zeroPadded = Buffer.concat([
      Buffer.alloc(1),
      bytes.subarray(0, 32),
      Buffer.alloc(1),
      bytes.subarray(32),
    ]);
    for (const wrong of [
      Buffer.alloc(0),
      bytes.subarray(1),
      bytes.subarray(0, 63),
      Buffer.concat([bytes, Buffer.alloc(1)]),
      Buffer.concat([bytes, bytes]),
      Buffer.alloc(64),
      zeroPadded,
    ]) {
      await expect(decodeMasterKey(wrong, key.parameters, engine)).rejects.toMatchObject({
        code: 'PARAMETERS_INVALID',
      });
    }
  });

  it('is sealed and unsealed also where half of |N| is no whole number of bytes', async () => {
    for (const bits of [514, 520]) {
      const key = await setUp(
        { bits, family },
        engine,
        new SeededRandom('odd widths'),
        systemSafePrimes,
      );
      const unsealed = await decodeMasterKey(encodeFactors(key), key.parameters, engine);
      expect(unsealed.factors.reveal()).toEqual(key.factors.reveal());
    }
  });

  it('does not print its factors', async () => {
    const key = await made;
    const text = inspect(key, { depth: null, showHidden: true }) + JSON.stringify(key.factors);
    expect(text).not.toContain(p.toString());
    expect(text).not.toContain(q.toString());
  });
});
