/** Set-up of the cryptosystem: BCP 2003, section 3; Liu et al. 2016, section III-B for `residue`. */
import { generatePrime } from 'node:crypto';
import { promisify } from 'node:util';

import { publicParameters, type GeneratorFamily } from '../bcp/parameters.js';
import type { ModularEngine } from '../modular/index.js';
import { bitLength } from '../integers.js';
import { uniformBetween, type RandomSource } from '../random.js';
import { Secret } from '../secret.js';
import { checkMasterKey, type MasterKey } from './master-key.js';

/** Draws a safe prime of exactly `bits` bits. Injected, so that tests need not wait for one. */
export type SafePrimeSource = (bits: number) => Promise<bigint>;

const generatePrimeAsync = promisify(
  (bits: number, callback: (error: Error | null, prime: bigint) => void) => {
    generatePrime(bits, { safe: true, bigint: true }, callback);
  },
);

/** Safe primes from `node:crypto`, on its own threads. */
export const systemSafePrimes: SafePrimeSource = generatePrimeAsync;

/** What to set up. */
export interface SetUpOptions {
  /** |N| in bits, even. */
  readonly bits: number;
  readonly family: GeneratorFamily;
}

/**
 * Draw a modulus and a generator.
 * @throws DuoveilError `PARAMETERS_INVALID` where the result fails its own checks: a broken source.
 */
export async function setUp(
  { bits, family }: SetUpOptions,
  engine: ModularEngine,
  random: RandomSource,
  safePrimes: SafePrimeSource = systemSafePrimes,
): Promise<MasterKey> {
  let p: bigint;
  let q: bigint;
  do {
    [p, q] = await Promise.all([safePrimes(bits / 2), safePrimes(bits / 2)]);
  } while (p === q || bitLength(p * q) !== bits);
  const modulus = p * q;
  const generator = await drawGenerator(family, modulus, engine, random);
  const key: MasterKey = {
    parameters: publicParameters(family, modulus, generator),
    factors: new Secret({ p, q }),
  };
  await checkMasterKey(key, bits, engine);
  return key;
}

/** A random square (`bcp03`) or a random `2N`-th power (`residue`): of full order but for a chance of about `2^(1 - |N|/2)`. */
async function drawGenerator(
  family: GeneratorFamily,
  modulus: bigint,
  engine: ModularEngine,
  random: RandomSource,
): Promise<bigint> {
  const modulusSquared = modulus * modulus;
  const base = uniformBetween(2n, modulusSquared - 2n, random);
  const exponent = family === 'residue' ? 2n * modulus : 2n;
  const [generator = 1n] = await engine.ring(modulusSquared).powers([{ base, exponent }]);
  return generator;
}
