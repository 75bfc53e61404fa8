/**
 * An additively homomorphic key of one component: `Enc(m) = (1 + mN)·g^r mod N²` with
 * `g = x^(2N)`, opened by who knows the factors. Between the servers it stands for "encrypted to
 * its owner": the CSP's is that of the public parameters, the service provider has one of its own.
 *
 * P. Paillier, Eurocrypt '99; short exponents and the form of the generator: I. Damgård, M. Jurik,
 * J. B. Nielsen, *A generalization of Paillier's public-key system*, IJIS 9, 2010, section 4.2.
 */
import { checkPrime, generatePrime } from 'node:crypto';
import { promisify } from 'node:util';

import { duoveilError } from '../errors.js';
import type { FixedBase, ModularEngine, PowerJob, Ring } from '../modular/index.js';
import { bitLength, gcd } from '../integers.js';
import {
  bytesFromInteger,
  integerFromBytes,
  uniformBetween,
  uniformBits,
  type RandomSource,
} from '../random.js';
import { Secret } from '../secret.js';
import { CrtOpening } from './crt-opening.js';

declare const additiveBrand: unique symbol;

/** `(1 + mN)·y mod N²`, `y` an `N`-th residue: a message `m` in `[0, N)`. */
export type AdditiveCiphertext = bigint & { readonly [additiveBrand]: true };

/** Modulus and generator of an additive key. */
export interface AdditiveParameters {
  readonly modulus: bigint;
  readonly generator: bigint;
}

/** A ciphertext and the constant that multiplies it. */
export interface AdditiveTerm {
  readonly ciphertext: AdditiveCiphertext;
  readonly factor: bigint;
}

/** The public operations of an additive key. */
export class AdditiveKey implements AdditiveParameters {
  readonly modulus: bigint;
  readonly generator: bigint;
  /** |N| in bits. */
  readonly bits: number;
  /** Bytes of a ciphertext. */
  readonly elementBytes: number;
  readonly ring: Ring;
  readonly #engine: ModularEngine;
  /** Powers of the generator, by the bits of the exponents that a table is for. */
  readonly #tables = new Map<number, FixedBase>();

  constructor({ modulus, generator }: AdditiveParameters, engine: ModularEngine) {
    this.modulus = modulus;
    this.generator = generator;
    this.bits = bitLength(modulus);
    this.elementBytes = Math.ceil((2 * this.bits) / 8);
    this.ring = engine.ring(modulus * modulus);
    this.#engine = engine;
  }

  /** Bits of the exponent of a fresh encryption. */
  get freshBits(): number {
    return this.bits / 2;
  }

  /** Encrypt each message afresh. */
  async encrypt(messages: readonly bigint[], random: RandomSource): Promise<AdditiveCiphertext[]> {
    const zeros = await this.zeros(messages.length, this.freshBits, random);
    return messages.map((message, i) => this.add(zeros[i] ?? one, message));
  }

  /**
   * Encryptions of zero to rerandomise with.
   * @param exponentBits see {@link hidingBits}; an exponent of |N| + κ bits is uniform modulo the
   * generator's order already, so that nothing is gained beyond
   */
  async zeros(
    count: number,
    exponentBits: number,
    random: RandomSource,
  ): Promise<AdditiveCiphertext[]> {
    const bits = Math.min(exponentBits, this.#longestBits);
    const exponents = Array.from({ length: count }, () => uniformBits(bits, random));
    return (await this.#powersOf(bits).power(exponents)) as AdditiveCiphertext[];
  }

  /** Add a constant: `c·(1 + kN)`. */
  add(ciphertext: AdditiveCiphertext, constant: bigint): AdditiveCiphertext {
    const reduced = constant % this.modulus;
    const factor = 1n + (reduced < 0n ? reduced + this.modulus : reduced) * this.modulus;
    return this.ring.multiply(ciphertext, factor) as AdditiveCiphertext;
  }

  /** Add two messages. */
  sum(left: AdditiveCiphertext, right: AdditiveCiphertext): AdditiveCiphertext {
    return this.ring.multiply(left, right) as AdditiveCiphertext;
  }

  /** `Σ kᵢ·mᵢ` of each list, the squarings shared. */
  async combinations(lists: readonly (readonly AdditiveTerm[])[]): Promise<AdditiveCiphertext[]> {
    const jobs = lists.map((terms): PowerJob[] =>
      terms.map(({ ciphertext, factor }) => ({ base: ciphertext, exponent: factor })),
    );
    return (await this.ring.multiPowers(jobs)) as AdditiveCiphertext[];
  }

  get #longestBits(): number {
    return this.bits + STATISTICAL_BITS;
  }

  /**
   * A table costs as much to read as its longest exponent: shorter ones have tables of their own.
   * Lengths follow from the packing plan alone and hide nothing.
   */
  #powersOf(exponentBits: number): FixedBase {
    const granules = Math.ceil(exponentBits / TABLE_GRANULE);
    const bits = Math.min(granules * TABLE_GRANULE, this.#longestBits);
    let table = this.#tables.get(bits);
    if (table === undefined) {
      table = this.ring.fixedBase(this.generator, bits);
      this.#tables.set(bits, table);
    }
    return table;
  }

  /** Encode at fixed width. */
  encode(ciphertext: AdditiveCiphertext): Buffer {
    return bytesFromInteger(ciphertext, this.elementBytes);
  }

  /**
   * Decode and validate: in `(0, N²)` and of Jacobi symbol 1.
   * @throws DuoveilError `CIPHERTEXT_INVALID`
   */
  async decode(encoded: readonly Uint8Array[], where: string): Promise<AdditiveCiphertext[]> {
    const values = encoded.map((bytes, i) => {
      const value = integerFromBytes(bytes);
      if (bytes.length !== this.elementBytes || value === 0n || value >= this.ring.modulus) {
        throw invalid(`${where}[${String(i)}]`, 'must lie between 0 and N² at full width');
      }
      return value;
    });
    const symbols = await this.#engine.jacobi(
      values.map((value) => value % this.modulus),
      this.modulus,
    );
    const outside = symbols.findIndex((symbol) => symbol !== 1);
    if (outside >= 0) throw invalid(`${where}[${String(outside)}]`, 'must have Jacobi symbol 1');
    return values as AdditiveCiphertext[];
  }
}

const one = 1n as AdditiveCiphertext;

/** Exponents are told apart by their length in multiples of this many bits: a key has few tables. */
const TABLE_GRANULE = 256;

function invalid(field: string, requirement: string): Error {
  return duoveilError('CIPHERTEXT_INVALID', `${field} ${requirement}`, { field });
}

/**
 * Bits of a rerandomiser's exponent that hides a combination of ciphertexts from the owner of their
 * key, who knows the factors and each ciphertext's randomness.
 * @param appliedBits bits of the constants that were applied
 * @param terms how many ciphertexts were combined
 */
export function hidingBits(freshBits: number, appliedBits: number, terms: number): number {
  return freshBits + appliedBits + Math.ceil(Math.log2(Math.max(terms, 1))) + STATISTICAL_BITS;
}

/** κ: what is hidden statistically is hidden but for a chance of `2^-κ`. */
export const STATISTICAL_BITS = 64;

/** An additive key with what opens it. */
export interface AdditiveKeyPair {
  readonly key: AdditiveKey;
  readonly opening: CrtOpening;
}

/**
 * Draws a prime `p` of exactly `bits` bits, 3 modulo 4, where no odd factor of `p - 1` has κ bits or
 * less. Then a random `2N`-th power generates all of them but for a chance of `2^-κ`, whoever drew it.
 * With a small factor it would not, and multiples of it would be no rerandomisers: what was combined
 * would show modulo that factor to who knows `p`.
 */
export type PrimeSource = (bits: number) => Promise<bigint>;

const generatePrimeAsync = promisify(
  (bits: number, callback: (error: Error | null, prime: bigint) => void) => {
    generatePrime(bits, { bigint: true }, callback);
  },
);
const checkPrimeAsync = promisify<bigint, boolean>(checkPrime);

/** Bits of the smaller odd factor of `p - 1`. */
const FACTOR_BITS = STATISTICAL_BITS + 8;

/** The first odd primes: most candidates are divisible by one of them. */
const SIEVE = Array.from({ length: 500 }, (_, i) => BigInt(2 * i + 3)).filter(
  (n, i, odd) => !odd.slice(0, i).some((divisor) => n % divisor === 0n),
);

/** `p = 2·r·k + 1`, `r` and `k` prime, from `node:crypto`, on its own threads. */
export const systemPrimes: PrimeSource = async (bits) => {
  // Both have their two top bits set, so that p has all its bits.
  const large = await generatePrimeAsync(bits - FACTOR_BITS - 1);
  for (;;) {
    const prime = 2n * large * (await generatePrimeAsync(FACTOR_BITS)) + 1n;
    if (SIEVE.some((divisor) => prime % divisor === 0n)) continue;
    if (bitLength(prime) === bits && (await checkPrimeAsync(prime))) return prime;
  }
};

/**
 * Draw an additive key: two primes, 3 modulo 4, whose predecessors share no factor but 2 and none
 * with `N`; the generator is a random `2N`-th power.
 */
export async function generateAdditiveKey(
  bits: number,
  engine: ModularEngine,
  random: RandomSource,
  primes: PrimeSource = systemPrimes,
): Promise<AdditiveKeyPair> {
  for (;;) {
    const [p, q] = await Promise.all([primes(bits / 2), primes(bits / 2)]);
    const modulus = p * q;
    if (p === q || bitLength(modulus) !== bits) continue;
    if (gcd(p - 1n, q - 1n) !== 2n || gcd(modulus, (p - 1n) * (q - 1n)) !== 1n) continue;
    const [generator = 1n] = await engine
      .ring(modulus * modulus)
      .powers([
        { base: uniformBetween(2n, modulus * modulus - 2n, random), exponent: 2n * modulus },
      ]);
    return {
      key: new AdditiveKey({ modulus, generator }, engine),
      opening: new CrtOpening(new Secret({ p, q }), engine),
    };
  }
}
