/**
 * The portable arithmetic itself: plain functions over BigInt, run on the calling thread or on a
 * worker. `bigint-crypto-utils` does single powers and inverses; simultaneous and fixed-base
 * exponentiation, which it lacks, are here.
 *
 * BigInt arithmetic is not constant-time: `docs/architecture.md` says what follows for deployments.
 */
import { modInv, modPow } from 'bigint-crypto-utils';

import { bitLength } from '../integers.js';
import type { PowerJob } from './engine.js';

/** `base^exponent mod modulus`. */
export function power(modulus: bigint, { base, exponent }: PowerJob): bigint {
  return modPow(base, exponent, modulus);
}

const WINDOW_BITS = 4;
const WINDOW_MASK = (1n << BigInt(WINDOW_BITS)) - 1n;

/**
 * `Π base^exponent mod modulus`, the squarings shared among all terms.
 * E. G. Straus, *Addition chains of vectors*, Amer. Math. Monthly 71, 1964; HAC algorithm 14.88.
 */
export function multiPower(modulus: bigint, terms: readonly PowerJob[]): bigint {
  const tables = terms.map(({ base }) => {
    const table = [1n];
    for (let i = 1n; i <= WINDOW_MASK; i++) table.push(((table.at(-1) ?? 1n) * base) % modulus);
    return table;
  });
  const longest = Math.max(0, ...terms.map(({ exponent }) => bitLength(exponent)));
  let result = 1n;
  for (let window = Math.ceil(longest / WINDOW_BITS) - 1; window >= 0; window--) {
    for (let i = 0; i < WINDOW_BITS; i++) result = (result * result) % modulus;
    const shift = BigInt(window * WINDOW_BITS);
    terms.forEach(({ exponent }, i) => {
      const digit = Number((exponent >> shift) & WINDOW_MASK);
      const factor = tables[i]?.[digit];
      if (digit !== 0 && factor !== undefined) result = (result * factor) % modulus;
    });
  }
  return result;
}

/** The product of the factors; 1 for none. */
export function product(modulus: bigint, factors: readonly bigint[]): bigint {
  return factors.reduce((accumulated, factor) => (accumulated * factor) % modulus, 1n);
}

/**
 * Inverses of all values for one inversion and three products each.
 * P. L. Montgomery, *Speeding the Pollard and elliptic curve methods*, Math. Comp. 48, 1987, §10.3.1.
 * @throws RangeError where a value has no inverse.
 */
export function inverses(modulus: bigint, values: readonly bigint[]): bigint[] {
  const prefixes = [1n];
  for (const value of values) prefixes.push(((prefixes.at(-1) ?? 1n) * value) % modulus);
  let suffix: bigint;
  try {
    suffix = modInv(prefixes.at(-1) ?? 1n, modulus);
  } catch {
    throw new RangeError('value is not invertible');
  }
  const results = new Array<bigint>(values.length);
  for (let i = values.length - 1; i >= 0; i--) {
    results[i] = (suffix * (prefixes[i] ?? 1n)) % modulus;
    suffix = (suffix * (values[i] ?? 1n)) % modulus;
  }
  return results;
}

/**
 * The Jacobi symbol (value | n), n odd and positive: -1, 0 or 1.
 * H. Cohen, *A Course in Computational Algebraic Number Theory*, algorithm 1.4.10.
 */
export function jacobi(value: bigint, n: bigint): number {
  let symbol = 1;
  let top = value % n;
  let bottom = n;
  while (top !== 0n) {
    while ((top & 1n) === 0n) {
      top >>= 1n;
      const residue = bottom & 7n;
      if (residue === 3n || residue === 5n) symbol = -symbol;
    }
    [top, bottom] = [bottom, top];
    if ((top & 3n) === 3n && (bottom & 3n) === 3n) symbol = -symbol;
    top %= bottom;
  }
  return bottom === 1n ? symbol : 0;
}

const COMB_TEETH = 8;
const COMB_BLOCKS = 4;

/**
 * A fixed base's table: `2^teeth` entries in each of a few blocks, about half a megabyte at a
 * 4,096-bit modulus.
 * C. H. Lim, P. J. Lee, *More flexible exponentiation with precomputation*, Crypto '94.
 */
export class Comb {
  readonly #modulus: bigint;
  readonly #rowBits: number;
  readonly #blockBits: number;
  readonly #tables: readonly (readonly bigint[])[];

  private constructor(modulus: bigint, layout: CombLayout, tables: readonly (readonly bigint[])[]) {
    this.#modulus = modulus;
    this.#rowBits = layout.rowBits;
    this.#blockBits = layout.blockBits;
    this.#tables = tables;
  }

  /**
   * Build the table: some 3,000 products for an exponent of 2,048 bits.
   * @param turn is awaited between any two short stretches of work
   */
  static async build(
    modulus: bigint,
    base: bigint,
    maxExponentBits: number,
    turn: () => Promise<void>,
  ): Promise<Comb> {
    const rowBits = Math.ceil(maxExponentBits / COMB_TEETH);
    const blockBits = Math.ceil(rowBits / COMB_BLOCKS);
    const squared = async (value: bigint, times: number): Promise<bigint> => {
      let result = value;
      for (let i = 0; i < times; i++) result = (result * result) % modulus;
      await turn();
      return result;
    };
    let teeth = [base % modulus];
    while (teeth.length < COMB_TEETH) teeth.push(await squared(teeth.at(-1) ?? 1n, rowBits));
    const tables: bigint[][] = [];
    for (let block = 0; block < COMB_BLOCKS; block++) {
      const table = [1n];
      for (const tooth of teeth) {
        table.push(...table.map((entry) => (entry * tooth) % modulus));
        await turn();
      }
      tables.push(table);
      teeth = await Promise.all(teeth.map((tooth) => squared(tooth, blockBits)));
    }
    return new Comb(modulus, { rowBits, blockBits }, tables);
  }

  /** `base^exponent`; the exponent has at most the bits that the comb was made for. */
  power(exponent: bigint): bigint {
    const bits = exponent.toString(2).padStart(COMB_TEETH * this.#rowBits, '0');
    const last = bits.length - 1;
    let result = 1n;
    for (let column = this.#blockBits - 1; column >= 0; column--) {
      result = (result * result) % this.#modulus;
      for (let block = 0; block < COMB_BLOCKS; block++) {
        const offset = block * this.#blockBits + column;
        if (offset >= this.#rowBits) continue;
        let index = 0;
        for (let tooth = 0; tooth < COMB_TEETH; tooth++) {
          if (bits.charCodeAt(last - tooth * this.#rowBits - offset) === 0x31) index |= 1 << tooth;
        }
        result = (result * (this.#tables[block]?.[index] ?? 1n)) % this.#modulus;
      }
    }
    return result;
  }
}

interface CombLayout {
  readonly rowBits: number;
  readonly blockBits: number;
}
