/** The master key: the factors of `N`. Only the crypto service provider holds one. */
import { checkPrime } from 'node:crypto';
import { promisify } from 'node:util';

import {
  checkParameters,
  parametersInvalid,
  publicParameters,
  type PublicParameters,
} from '../bcp/parameters.js';
import { jacobi } from '../modular/kernel.js';
import type { ModularEngine } from '../modular/index.js';
import { bitLength } from '../integers.js';
import { bytesFromInteger, integerFromBytes } from '../random.js';
import { Secret } from '../secret.js';
import type { Factors } from '../paillier/crt-opening.js';

/** A master key and the public parameters that belong to it. */
export interface MasterKey {
  readonly parameters: PublicParameters;
  /** `p` and `q`, safe primes of equal length. */
  readonly factors: Secret<Factors>;
}

/** Bytes of one factor. Half of |N| need not be a whole number of bytes. */
function factorBytes({ bits }: PublicParameters): number {
  return Math.ceil(bits / 16);
}

/** The factors as bytes, to be sealed: `p` then `q`, each half as long as `N`. */
export function encodeFactors(key: MasterKey): Buffer {
  const { p, q } = key.factors.reveal();
  const width = factorBytes(key.parameters);
  return Buffer.concat([bytesFromInteger(p, width), bytesFromInteger(q, width)]);
}

/**
 * Put a master key together from unsealed bytes and check it.
 * @throws DuoveilError `PARAMETERS_INVALID`
 */
export async function decodeMasterKey(
  bytes: Uint8Array,
  parameters: PublicParameters,
  engine: ModularEngine,
): Promise<MasterKey> {
  const width = factorBytes(parameters);
  if (bytes.length !== 2 * width) {
    throw parametersInvalid('modulus', `must have factors of ${String(width)} bytes each`);
  }
  const factors = {
    p: integerFromBytes(bytes.subarray(0, width)),
    q: integerFromBytes(bytes.subarray(width)),
  };
  const key = { parameters, factors: new Secret(factors) };
  await checkMasterKey(key, parameters.bits, engine);
  return key;
}

/**
 * Everything that must hold of a master key: `N` has the stated length and is the product of two
 * distinct safe primes of equal length; the generator is a square of exactly the family's order.
 * Run at set-up and on every load.
 * @throws DuoveilError `PARAMETERS_INVALID`
 */
export async function checkMasterKey(
  key: MasterKey,
  bits: number,
  engine: ModularEngine,
): Promise<void> {
  const { parameters } = key;
  const { p, q } = key.factors.reveal();
  const { family, modulus, generator } = parameters;
  const derived = publicParameters(family, modulus, generator);
  if (derived.digest !== parameters.digest) {
    throw parametersInvalid('digest', 'does not belong to the parameters');
  }
  if (derived.bits !== bits) {
    throw parametersInvalid('modulus', `must have ${String(bits)} bits`);
  }
  if (p * q !== modulus) throw parametersInvalid('modulus', 'is not the product of the factors');
  if (p === q) throw parametersInvalid('modulus', 'must not be a square');
  for (const factor of [p, q]) {
    if (bitLength(factor) !== bits / 2) {
      throw parametersInvalid('modulus', 'must have two factors of half its length');
    }
    if (!(await isSafePrime(factor))) {
      throw parametersInvalid('modulus', 'must be the product of two safe primes');
    }
  }
  await checkParameters(parameters, engine);
  await Promise.all([checkGenerator(parameters, p, engine), checkGenerator(parameters, q, engine)]);
}

/**
 * The order of `g` modulo one prime's square. A safe prime `p = 2p' + 1` leaves few possibilities:
 * `g` is a square modulo `p` and not 1, so `p'` divides its order; `g^(p-1)` is 1 modulo `p²`
 * (`residue`) or is not (`bcp03`, then `p` divides the order too, and `gcd(k, N) = 1`).
 */
async function checkGenerator(
  { family, generator }: PublicParameters,
  p: bigint,
  engine: ModularEngine,
): Promise<void> {
  const residue = generator % p;
  if (residue === 1n || jacobi(residue, p) !== 1) {
    throw parametersInvalid('generator', 'must be a square of full order');
  }
  const square = p * p;
  const [power] = await engine
    .ring(square)
    .powers([{ base: generator % square, exponent: p - 1n }]);
  if ((power === 1n) !== (family === 'residue')) {
    throw parametersInvalid('generator', `does not have the order of the ${family} family`);
  }
}

const checkPrimeAsync = promisify(
  (candidate: bigint, callback: (error: Error | null, isPrime: boolean) => void) => {
    checkPrime(candidate, callback);
  },
);

async function isSafePrime(candidate: bigint): Promise<boolean> {
  if (candidate < 7n) return false;
  return (await checkPrimeAsync(candidate)) && (await checkPrimeAsync((candidate - 1n) / 2n));
}
