/**
 * Proof that a modulus makes a Paillier key: `gcd(N, φ(N)) = 1`, so that every element of the group
 * has one message and one `N`-th residue. The prover shows `N`-th roots of values that follow from `N`
 * alone. Where the gcd is not 1 and `N` has no prime factor below `α`, each value has a root with a
 * chance of at most `1/α`.
 *
 * S. Goldberg, L. Reyzin, O. Sagga, F. Baldimtsi, *Efficient noninteractive certification of RSA moduli
 * and beyond*, Asiacrypt 2019, section 3.2.
 */
import { createHash } from 'node:crypto';

import type { ModularEngine } from '../modular/index.js';
import { bytesFromInteger, derivedRandom, uniformBelow } from '../random.js';
import type { CrtOpening } from './crt-opening.js';

/** `α`: primes below it are tried. */
const TRIED_BELOW = 2 ** 16;

/** Roots in a proof: a false one passes with a chance of `2^-128`. */
export const PROOF_ROOTS = 8;

/** The roots. */
export async function proveWellFormed(modulus: bigint, opening: CrtOpening): Promise<bigint[]> {
  return opening.nthRoots(challenges(modulus));
}

/** Does a proof hold? */
export async function isWellFormed(
  modulus: bigint,
  roots: readonly bigint[],
  engine: ModularEngine,
): Promise<boolean> {
  if (roots.length !== PROOF_ROOTS || roots.some((root) => root <= 0n || root >= modulus)) {
    return false;
  }
  if (hasSmallFactor(modulus)) return false;
  const powers = await engine.ring(modulus).powers(
    roots.map((base) => ({ base, exponent: modulus })),
    'public',
  );
  return challenges(modulus).every((challenge, i) => powers[i] === challenge);
}

function challenges(modulus: bigint): bigint[] {
  const seed = createHash('sha256').update('duoveil/well-formed/v1').digest();
  const width = Math.ceil(modulus.toString(16).length / 2);
  const random = derivedRandom(seed, bytesFromInteger(modulus, width));
  return Array.from({ length: PROOF_ROOTS }, () => uniformBelow(modulus, random));
}

/** Odd primes below the bound, and 2. */
const SMALL_PRIMES = sieve(TRIED_BELOW);

function hasSmallFactor(modulus: bigint): boolean {
  // Remainders by products of many primes are cheap; the primes are then tried on small numbers.
  for (let start = 0; start < SMALL_PRIMES.length; start += 64) {
    const primes = SMALL_PRIMES.slice(start, start + 64);
    const product = primes.reduce((accumulated, prime) => accumulated * prime, 1n);
    const remainder = modulus % product;
    if (primes.some((prime) => remainder % prime === 0n)) return true;
  }
  return false;
}

function sieve(bound: number): bigint[] {
  const composite = new Uint8Array(bound);
  const primes: bigint[] = [];
  for (let n = 2; n < bound; n++) {
    if (composite[n] === 1) continue;
    primes.push(BigInt(n));
    for (let multiple = n * n; multiple < bound; multiple += n) composite[multiple] = 1;
  }
  return primes;
}
