/** The operations of the arithmetic engine as they are counted and timed: by kind and size. */

/** What is done. */
export type OperationKind =
  'multiply' | 'product' | 'power' | 'multiPower' | 'inverses' | 'table' | 'fixed' | 'jacobi';

/** One kind of operation at one size. */
export interface Operation {
  readonly kind: OperationKind;
  /** The modulus that was used first: an operation is timed with it. */
  readonly modulus: bigint;
  readonly modulusBits: number;
  /** Bits of the exponents; 0 where there is none. */
  readonly exponentBits: number;
  /** Factors, bases or values that belong together; 1 where there is but one. */
  readonly terms: number;
}

const PREFIXES: Readonly<Record<OperationKind, string>> = {
  multiply: 'mul',
  product: 'product',
  power: 'exp',
  multiPower: 'multiexp',
  inverses: 'inverse',
  table: 'table',
  fixed: 'fixed',
  jacobi: 'jacobi',
};

/**
 * An operation's name: its kind, how many terms where there are several, bits of the modulus, bits of
 * the exponents. `exp_4096_1024` is one power of a 1,024-bit exponent modulo 4,096 bits;
 * `fixed14_4096_102` a product of powers of 14 bases that have a table.
 */
export function nameOf({ kind, modulusBits, exponentBits, terms }: Omit<Operation, 'modulus'>) {
  const several = terms === 1 ? '' : String(terms);
  const exponent = exponentBits === 0 ? '' : `_${exponentBits}`;
  return `${PREFIXES[kind]}${several}_${modulusBits}${exponent}`;
}

/** How often an operation was done. */
export interface Count {
  readonly operation: Operation;
  readonly times: number;
}

/** Counts by name. */
export type Counts = ReadonlyMap<string, Count>;

/** The time of all operations together, each as often as it was counted. */
export function sumOf(counts: Counts, milliseconds: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const [name, { times }] of counts) {
    const each = milliseconds.get(name);
    if (each === undefined) throw new RangeError(`${name} was counted and not timed`);
    total += times * each;
  }
  return total;
}
