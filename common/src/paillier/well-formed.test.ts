/** The proof that a modulus makes a Paillier key: who can give it, and who cannot. */
import { checkPrimeSync, createHash } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../../harness/src/local/engine.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import {
  PUBLIC_PROVIDER_PRIMES,
  PUBLIC_TEST_PRIMES,
} from '../../../harness/src/local/test-primes.js';
import { bytesFromInteger, derivedRandom, uniformBelow, uniformBits } from '../random.js';
import { Secret } from '../secret.js';
import { CrtOpening } from './crt-opening.js';
import { isWellFormed, PROOF_ROOTS, proveWellFormed } from './well-formed.js';

const engine = testEngine();
afterAll(() => engine.close());
const random = new SeededRandom('well-formed');

const power = (base: bigint, exponent: bigint, modulus: bigint) => {
  let result = 1n;
  for (let square = base % modulus, left = exponent; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
};

const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b));

/** By Euclid; the two must have no common factor. */
function inverse(value: bigint, modulus: bigint): bigint {
  let [r, next, s, t] = [modulus, ((value % modulus) + modulus) % modulus, 0n, 1n];
  while (next > 0n) {
    const quotient = r / next;
    [r, next, s, t] = [next, r - quotient * next, t, s - quotient * t];
  }
  return ((s % modulus) + modulus) % modulus;
}

/** A prime `2·k·factor + 1` of so many bits more than the factor, for which `accept` holds. */
function primeOver(factor: bigint, bits: number, accept: (p: bigint) => boolean = () => true) {
  for (;;) {
    const k = uniformBits(bits, random) | (1n << BigInt(bits - 1));
    const candidate = 2n * k * factor + 1n;
    // Once: what is asked of the cofactor below.
    if (gcd(2n * k, factor) !== 1n || !accept(candidate)) continue;
    if (checkPrimeSync(candidate)) return candidate;
  }
}

/** What the proof is about, as the verifier derives it. */
function challengesOf(modulus: bigint): bigint[] {
  const seed = createHash('sha256').update('duoveil/well-formed/v1').digest();
  const width = Math.ceil(modulus.toString(16).length / 2);
  const derived = derivedRandom(seed, bytesFromInteger(modulus, width));
  return Array.from({ length: PROOF_ROOTS }, () => uniformBelow(modulus, derived));
}

/** The best that anybody can do: the root of each value that has one, of the others something else. */
function bestRoots(p: bigint, q: bigint): { roots: bigint[]; right: number } {
  const N = p * q;
  const rootModulo = (value: bigint, prime: bigint) => {
    // On the subgroup of order d, where d has no factor of N, there is one.
    let d = prime - 1n;
    for (let common = gcd(d, N); common > 1n; common = gcd(d, N)) d /= common;
    return power(value, inverse(N, d), prime);
  };
  const challenges = challengesOf(N);
  const roots = challenges.map((value) => {
    const [a, b] = [rootModulo(value, p), rootModulo(value, q)];
    return a + ((p * ((((b - a) * inverse(p, q)) % q) + q)) % N);
  });
  const reduced = roots.map((root) => root % N);
  const right = challenges.filter((value, i) => power(reduced[i] ?? 0n, N, N) === value).length;
  return { roots: reduced, right };
}

const proofOf = (p: bigint, q: bigint) =>
  proveWellFormed(p * q, new CrtOpening(new Secret({ p, q }), engine));

describe('the proof of a modulus', () => {
  const [P, Q] = PUBLIC_PROVIDER_PRIMES[512];
  const N = P * Q;
  let roots: bigint[];
  beforeAll(async () => {
    roots = await proofOf(P, Q);
  });

  it.each([
    ['512 bits', ...PUBLIC_PROVIDER_PRIMES[512]],
    ['1024 bits', ...PUBLIC_PROVIDER_PRIMES[1024]],
    ['2048 bits', ...PUBLIC_PROVIDER_PRIMES[2048]],
    ['512 bits and safe primes', ...PUBLIC_TEST_PRIMES[512]],
  ] as const)('holds for an honest one of %s, and is the one there is', async (_, p, q) => {
    const proof = await proofOf(p, q);
    expect(proof).toHaveLength(PROOF_ROOTS);
    expect(await isWellFormed(p * q, proof, engine)).toBe(true);
    expect(proof).toEqual(bestRoots(p, q).roots);
  });

  it('does not hold with a root too few, too many, or none', async () => {
    const bad = [roots.slice(1), roots.slice(0, -1), [...roots, roots[0] ?? 1n], []];
    for (const list of bad) expect(await isWellFormed(N, list, engine)).toBe(false);
  });

  it('does not hold with any one root wrong, or out of range', async () => {
    for (let i = 0; i < PROOF_ROOTS; i++) {
      const root = roots[i] ?? 0n;
      for (const wrong of [root + 1n, N - root, root + N, root - N, 0n, 1n, N, -root]) {
        const list = roots.map((right, k) => (k === i ? wrong : right));
        expect(await isWellFormed(N, list, engine)).toBe(false);
      }
    }
    expect(await isWellFormed(N, roots, engine)).toBe(true);
  });

  it('does not hold in another order, or for another modulus', async () => {
    expect(await isWellFormed(N, [...roots].reverse(), engine)).toBe(false);
    const [a = 0n, b = 0n, ...rest] = roots;
    expect(await isWellFormed(N, [b, a, ...rest], engine)).toBe(false);
    const other = PUBLIC_TEST_PRIMES[512][0] * PUBLIC_TEST_PRIMES[512][1];
    expect(await isWellFormed(other, roots, engine)).toBe(false);
  });
});

describe('a modulus that makes no Paillier key', () => {
  it.each([
    { name: 'a prime of 17 bits', q: 65_537n },
    { name: 'a prime of 20 bits', q: 1_048_583n },
    { name: 'as long a prime as any', q: PUBLIC_TEST_PRIMES[512][1] },
  ])('for one factor divides the other less one has no proof: $name', async ({ q }) => {
    const p = primeOver(q, 300);
    expect((p - 1n) % q).toBe(0n);
    expect(gcd(p * q, (p - 1n) * (q - 1n))).toBe(q);
    const { roots, right } = bestRoots(p, q);
    expect(right).toBeLessThan(PROOF_ROOTS);
    expect(await isWellFormed(p * q, roots, engine)).toBe(false);
    await expect(proofOf(p, q)).rejects.toThrow();
  });

  it('is a square: it has no proof', async () => {
    const p = PUBLIC_TEST_PRIMES[512][0];
    const N = p * p;
    // Roots of what has one: on the subgroup of order p - 1.
    const roots = challengesOf(N).map((value) =>
      power(power(value, p, N), inverse(N * p, p - 1n), N),
    );
    // They are roots of the values' parts in that subgroup: this is no slip of the test's.
    challengesOf(N).forEach((value, i) => {
      expect(power(roots[i] ?? 0n, N, N) % p).toBe(value % p);
    });
    expect(await isWellFormed(N, roots, engine)).toBe(false);
  });

  it('of which a third of the values has roots by chance shows that the forger here is good', () => {
    // 3 divides p - 1: without the search for small factors, such roots would be found now and then.
    const p = primeOver(3n, 300);
    const { right } = bestRoots(p, 3n);
    expect(right).toBeGreaterThan(0);
    expect(right).toBeLessThan(PROOF_ROOTS);
  });
});

describe('a modulus with a small factor', () => {
  it.each([3n, 5n, 257n, 65_519n, 65_521n])(
    'is refused, although every root is right: %s',
    async (q) => {
      const p = primeOver(1n, 400, (candidate) => (candidate - 1n) % q !== 0n);
      const { roots, right } = bestRoots(p, q);
      expect(right).toBe(PROOF_ROOTS);
      expect(await isWellFormed(p * q, roots, engine)).toBe(false);
    },
  );

  it('at the bound is taken: its proof says enough', async () => {
    const q = 65_537n;
    const p = primeOver(1n, 400, (candidate) => (candidate - 1n) % q !== 0n);
    const { roots, right } = bestRoots(p, q);
    expect(right).toBe(PROOF_ROOTS);
    expect(await isWellFormed(p * q, roots, engine)).toBe(true);
  });

  it('of 2, or of several small ones, is refused', async () => {
    const p = primeOver(1n, 400);
    for (const q of [2n, 4n, 3n * 5n, 65_521n * 65_519n]) {
      const roots = Array<bigint>(PROOF_ROOTS).fill(1n);
      expect(await isWellFormed(p * q, roots, engine)).toBe(false);
    }
  });
});
