/**
 * Encryption and the homomorphic operations, over lists: what anybody can do with public parameters
 * and a public key. Messages are integers modulo `N`; any integer is accepted and reduced.
 */
import type { FixedBase, ModularEngine, Ring } from '../modular/index.js';
import { uniformBelow, uniformBetween, uniformBits, type RandomSource } from '../random.js';
import { ciphertext, maskedOpening, type Ciphertext, type MaskedOpening } from './ciphertext.js';
import type { PublicParameters } from './parameters.js';

/** A ciphertext and the constant that multiplies it. */
export interface ScaledCiphertext {
  readonly ciphertext: Ciphertext;
  readonly factor: bigint;
}

/** Operations that need no key. */
export class Bcp {
  readonly parameters: PublicParameters;
  readonly engine: ModularEngine;
  /** Integers modulo `N²`. */
  readonly ring: Ring;
  /** Powers of `g`. */
  readonly generator: FixedBase;

  constructor(parameters: PublicParameters, engine: ModularEngine) {
    this.parameters = parameters;
    this.engine = engine;
    this.ring = engine.ring(parameters.modulusSquared);
    this.generator = this.ring.fixedBase(parameters.generator, this.exponentBits);
  }

  /** Bits of the longest exponent to which `g` or a public key is raised here. */
  get exponentBits(): number {
    const { family, bits } = this.parameters;
    return family === 'residue' ? bits : 2 * bits;
  }

  /** `m` modulo `N`, in `[0, N)`. */
  reduce(message: bigint): bigint {
    const { modulus } = this.parameters;
    const remainder = message % modulus;
    return remainder < 0n ? remainder + modulus : remainder;
  }

  /** `1 + mN mod N²`: the message's own factor of a ciphertext. */
  messageFactor(message: bigint): bigint {
    return 1n + this.reduce(message) * this.parameters.modulus;
  }

  /** Add the messages of each list (at least one each): the componentwise product. */
  async sums(lists: readonly (readonly Ciphertext[])[]): Promise<Ciphertext[]> {
    const products = await this.ring.products(
      lists.flatMap((list) => [list.map(({ a }) => a), list.map(({ b }) => b)]),
    );
    return lists.map((_, i) => ciphertext(products[2 * i] ?? 1n, products[2 * i + 1] ?? 1n));
  }

  /** Add a constant to the message: `B·(1 + kN)`. */
  addConstant({ a, b }: Ciphertext, constant: bigint): Ciphertext {
    return ciphertext(a, this.ring.multiply(b, this.messageFactor(constant)));
  }

  /** Multiply each message by a constant, `(A^k, B^k)`, `k` reduced modulo `N`: a full exponentiation each. */
  async scale(jobs: readonly ScaledCiphertext[]): Promise<Ciphertext[]> {
    const powers = await this.ring.powers(
      jobs.flatMap(({ ciphertext: { a, b }, factor }) => {
        const exponent = this.reduce(factor);
        return [
          { base: a, exponent },
          { base: b, exponent },
        ];
      }),
    );
    return jobs.map((_, i) => ciphertext(powers[2 * i] ?? 1n, powers[2 * i + 1] ?? 1n));
  }

  /** Negate each message: the componentwise inverse. */
  async negate(list: readonly Ciphertext[]): Promise<Ciphertext[]> {
    const inverses = await this.ring.inverses(list.flatMap(({ a, b }) => [a, b]));
    return list.map((_, i) => ciphertext(inverses[2 * i] ?? 1n, inverses[2 * i + 1] ?? 1n));
  }

  /**
   * An exponent for a fresh encryption. `residue`: |N|/2 bits, short exponents being safe for a
   * generator of `N`-th residues (I. Damgård, M. Jurik, J. B. Nielsen, *A generalization of
   * Paillier's public-key system*, IJIS 9, 2010, section 4.2); `bcp03`: uniform in `[1, N²/2]`.
   */
  encryptionExponent(random: RandomSource): bigint {
    const { family, bits, modulusSquared } = this.parameters;
    return family === 'residue'
      ? uniformBits(bits / 2, random)
      : uniformBetween(1n, modulusSquared / 2n, random);
  }

  /**
   * An exponent that hides the one it is added to from everybody, also from who knows the factors of
   * `N`: uniform over an interval so much longer than the order of `g` that it is uniform modulo that
   * order, to within `2^(1 - |N|/2)`. Order `p'q' < N/4` (`residue`) or `N·p'q' < N²/4` (`bcp03`).
   */
  hidingExponent(random: RandomSource): bigint {
    const { family, modulus, modulusSquared } = this.parameters;
    const twiceTheOrder = (family === 'residue' ? modulus : modulusSquared) / 2n;
    return 1n + uniformBelow(twiceTheOrder, random);
  }
}

/** Operations under one patient's public key. */
export class KeyedBcp {
  readonly bcp: Bcp;
  /** `h`. */
  readonly publicKey: bigint;
  readonly #powersOfKey: FixedBase;

  constructor(bcp: Bcp, publicKey: bigint) {
    this.bcp = bcp;
    this.publicKey = publicKey;
    this.#powersOfKey = bcp.ring.fixedBase(publicKey, bcp.exponentBits);
  }

  /** Encrypt each message afresh. */
  async encrypt(messages: readonly bigint[], random: RandomSource): Promise<Ciphertext[]> {
    const exponents = messages.map(() => this.bcp.encryptionExponent(random));
    const zeros = await this.#zeros(exponents);
    return messages.map((message, i) =>
      this.bcp.addConstant(zeros[i] ?? ciphertext(1n, 1n), message),
    );
  }

  /** The same messages in ciphertexts that nobody can tell from fresh ones. */
  async rerandomise(list: readonly Ciphertext[], random: RandomSource): Promise<Ciphertext[]> {
    const zeros = await this.#zeros(list.map(() => this.bcp.hidingExponent(random)));
    return this.bcp.sums(list.map((item, i) => [item, zeros[i] ?? ciphertext(1n, 1n)]));
  }

  /**
   * Rerandomise for opening by the master key: as {@link rerandomise}, but only the components that
   * the master key needs are computed.
   */
  async rerandomiseForOpening(
    list: readonly Ciphertext[],
    random: RandomSource,
  ): Promise<MaskedOpening[]> {
    if (this.bcp.parameters.family === 'bcp03') {
      return (await this.rerandomise(list, random)).map(({ a, b }) => maskedOpening(b, a));
    }
    const exponents = list.map(() => this.bcp.hidingExponent(random));
    const factors = await this.#powersOfKey.power(exponents);
    return list.map(({ b }, i) =>
      maskedOpening(this.bcp.ring.multiply(b, factors[i] ?? 1n), undefined),
    );
  }

  async #zeros(exponents: readonly bigint[]): Promise<Ciphertext[]> {
    const [left, right] = await Promise.all([
      this.bcp.generator.power(exponents),
      this.#powersOfKey.power(exponents),
    ]);
    return exponents.map((_, i) => ciphertext(left[i] ?? 1n, right[i] ?? 1n));
  }
}
