/**
 * A small seeded generator for simulations: the same numbers on every platform. It is no source of
 * secrets.
 */

/** A stream of pseudo-random numbers. */
export interface Prng {
  /** Uniform in `[0, 1)`, a multiple of 2^-32. */
  uniform(): number;
  /** Uniform among the integers `from` to `to`, both included. */
  integer(from: number, to: number): number;
  /** Bell-shaped with mean 0 and variance 1, within ±6. */
  bell(): number;
}

/** The state of xoshiro128**: four words, not all 0. */
export type PrngState = readonly [number, number, number, number];

/**
 * xoshiro128** 1.1: Blackman and Vigna, *Scrambled linear pseudorandom number generators*, ACM TOMS
 * 47(4), 2021. 32-bit integer arithmetic only.
 */
export function xoshiro128(state: PrngState): () => number {
  let [a, b, c, d] = state;
  return () => {
    const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotateLeft(d, 11);
    return result;
  };
}

/**
 * A generator from a seed.
 * @param seed an integer from 0 to 2^32 - 1
 * @param stream which of the independent streams of this seed, likewise
 */
export function seededPrng(seed: number, stream = 0): Prng {
  const next = xoshiro128([
    mix(seed),
    mix(seed ^ 0x9e3779b9),
    mix(stream ^ 0x6a09e667),
    // Never 0 together with the others.
    mix(seed ^ stream) | 1,
  ]);
  // The first outputs depend on single words of the state.
  for (let i = 0; i < 16; i++) next();
  const uniform = () => next() / 2 ** 32;
  return {
    uniform,
    integer: (from, to) => from + Math.floor(uniform() * (to - from + 1)),
    bell: () => {
      // Sum of twelve uniforms (Irwin-Hall): unlike Box-Muller it takes no logarithm or cosine, whose
      // last bits differ between platforms.
      let sum = -6;
      for (let i = 0; i < 12; i++) sum += uniform();
      return sum;
    },
  };
}

function rotateLeft(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by));
}

/** A bijection of 32-bit words that spreads near ones: the finaliser of MurmurHash3 (Appleby). */
function mix(word: number): number {
  let x = word;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}
