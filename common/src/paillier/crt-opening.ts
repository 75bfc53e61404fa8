/**
 * Opening by who knows the factors: `L_p(x^(p-1) mod p²)` modulo each prime, joined by the Chinese
 * remainder theorem. P. Paillier, *Public-key cryptosystems based on composite degree residuosity
 * classes*, Eurocrypt '99, section 7.
 */
import { modInv } from 'bigint-crypto-utils';

import { decryptionFailed } from '../bcp/keys.js';
import { inverses } from '../modular/kernel.js';
import type { ModularEngine, Ring } from '../modular/index.js';
import type { Secret } from '../secret.js';

/** Two distinct primes. */
export interface Factors {
  readonly p: bigint;
  readonly q: bigint;
}

/** Arithmetic modulo the square of one of the factors, which nothing prints, clones or serialises. */
export class PrimeHalf {
  readonly #prime: bigint;
  readonly #ring: Ring;
  readonly #field: Ring;
  /** `(q·(p-1))⁻¹ mod p`. */
  readonly #unscale: bigint;

  constructor(prime: bigint, other: bigint, engine: ModularEngine) {
    this.#prime = prime;
    this.#ring = engine.ring(prime * prime);
    this.#field = engine.ring(prime);
    this.#unscale = inverses(prime, [(other * (prime - 1n)) % prime])[0] ?? 0n;
  }

  /** The factor. */
  get prime(): bigint {
    return this.#prime;
  }

  /** `L_p(x^(p-1) mod p²)` of each `x`: for `x = (1 + mN)·y`, `m·q·(p-1)` more than that of `y`. */
  async logarithms(values: readonly bigint[]): Promise<bigint[]> {
    const exponent = this.prime - 1n;
    const powers = await this.#ring.powers(
      values.map((value) => ({ base: value % this.#ring.modulus, exponent })),
    );
    return powers.map((power) => {
      if (power % this.prime !== 1n) throw decryptionFailed();
      return (power - 1n) / this.prime;
    });
  }

  /** `x^(N⁻¹ mod (p-1)) mod p` of each `x`: its `N`-th root modulo this prime. */
  async nthRoots(values: readonly bigint[], modulus: bigint): Promise<bigint[]> {
    const exponent = modInv(modulus % (this.prime - 1n), this.prime - 1n);
    return this.#field.powers(values.map((value) => ({ base: value % this.prime, exponent })));
  }

  /** `m mod p`, from what `m` contributed to a logarithm. */
  message(logarithm: bigint): bigint {
    return (logarithm * this.#unscale) % this.prime;
  }
}

/** Both halves. */
export class CrtOpening {
  readonly first: PrimeHalf;
  readonly second: PrimeHalf;
  readonly #inverseOfFirst: bigint;

  constructor(factors: Secret<Factors>, engine: ModularEngine) {
    const { p, q } = factors.reveal();
    this.first = new PrimeHalf(p, q, engine);
    this.second = new PrimeHalf(q, p, engine);
    this.#inverseOfFirst = inverses(q, [p % q])[0] ?? 0n;
  }

  /**
   * The message of each `(1 + mN)·y`, `y` an `N`-th residue.
   * @throws DuoveilError `DECRYPTION_FAILED` for what is not a unit
   */
  async open(values: readonly bigint[]): Promise<bigint[]> {
    const [left, right] = await Promise.all([
      this.first.logarithms(values),
      this.second.logarithms(values),
    ]);
    return left.map((logarithm, i) =>
      this.join(this.first.message(logarithm), this.second.message(right[i] ?? 0n)),
    );
  }

  /** The `N`-th root of each value modulo `N`: there is one, and who has the factors finds it. */
  async nthRoots(values: readonly bigint[]): Promise<bigint[]> {
    const modulus = this.first.prime * this.second.prime;
    const [left, right] = await Promise.all([
      this.first.nthRoots(values, modulus),
      this.second.nthRoots(values, modulus),
    ]);
    return left.map((root, i) => this.join(root, right[i] ?? 0n));
  }

  /** H. L. Garner, *The residue number system*, IRE Trans. EC-8, 1959. */
  join(moduloP: bigint, moduloQ: bigint): bigint {
    const { prime: p } = this.first;
    const { prime: q } = this.second;
    const difference = (moduloQ - (moduloP % q) + q) % q;
    return moduloP + p * ((difference * this.#inverseOfFirst) % q);
  }
}
