/**
 * The arithmetic engine: modular multiplication and exponentiation, and nothing else.
 *
 * One interface, two implementations (`portable`, on `bigint-crypto-utils`; `native`, on OpenSSL).
 * Calls take lists and are asynchronous, so that an engine may spread one call over all cores and
 * never holds the event loop; results come in the order of the jobs.
 *
 * Every operand of a ring is in `[0, modulus)` and every exponent non-negative: an engine does not
 * check, its callers do when they decode.
 */

/** `base^exponent`; the exponent is non-negative. */
export interface PowerJob {
  readonly base: bigint;
  readonly exponent: bigint;
}

/**
 * Whether an exponent may be seen through timing or cache. `secret` (the default everywhere) takes
 * the engine's constant-time path where it has one; `public` may be faster.
 */
export type Exposure = 'secret' | 'public';

/** Powers of one base that is used again and again; may keep a table. */
export interface FixedBase {
  readonly base: bigint;
  /** Exponents have at most this many bits. */
  readonly maxExponentBits: number;
  /** `base^e` for each exponent. */
  power(exponents: readonly bigint[], exposure?: Exposure): Promise<bigint[]>;
}

/** Products of powers of bases that stay the same; may keep a table for them. */
export interface FixedProducts {
  readonly bases: readonly bigint[];
  /** Exponents have at most this many bits. */
  readonly maxExponentBits: number;
  /** `Π base^exponent` for each list, which has one exponent a base. */
  products(lists: readonly (readonly bigint[])[], exposure?: Exposure): Promise<bigint[]>;
}

/** Arithmetic modulo one odd modulus, with whatever is worth keeping for it. */
export interface Ring {
  readonly modulus: bigint;
  /** `a·b`, at once: for the few products between two protocol steps. */
  multiply(a: bigint, b: bigint): bigint;
  /** The product of each list; 1 for an empty list. */
  products(lists: readonly (readonly bigint[])[]): Promise<bigint[]>;
  /** `base^exponent` for each job, each on its own. */
  powers(jobs: readonly PowerJob[], exposure?: Exposure): Promise<bigint[]>;
  /** `Π base^exponent` over each list (simultaneous exponentiation); 1 for an empty list. */
  multiPowers(lists: readonly (readonly PowerJob[])[], exposure?: Exposure): Promise<bigint[]>;
  /**
   * The inverse of each value.
   * @throws RangeError where one has none.
   */
  inverses(values: readonly bigint[]): Promise<bigint[]>;
  /** A fixed base of this ring. Tables are built on first use. */
  fixedBase(base: bigint, maxExponentBits: number): FixedBase;
  /** Several fixed bases (at least one) that are always used together. */
  fixedProducts(bases: readonly bigint[], maxExponentBits: number): FixedProducts;
}

/** An implementation of the arithmetic. */
export interface ModularEngine {
  readonly kind: 'portable' | 'native';
  /** The kind, and what it uses of the processor where that makes a difference: for people. */
  readonly description: string;
  /** The ring of integers modulo an odd modulus > 1. Rings of equal moduli may share what they keep. */
  ring(modulus: bigint): Ring;
  /** The Jacobi symbol of each value over an odd `n` > 1: -1, 0 or 1. */
  jacobi(values: readonly bigint[], n: bigint): Promise<number[]>;
  /** Give back threads and tables. Calls after that fail. */
  close(): Promise<void>;
}
