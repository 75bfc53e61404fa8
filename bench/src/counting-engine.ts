import type {
  Exposure,
  FixedBase,
  FixedProducts,
  ModularEngine,
  PowerJob,
  Ring,
} from '@duoveil/common/modular';
import { bitLength } from '@duoveil/common/integers';

import { nameOf, type Count, type Counts, type Operation } from './operations.js';

/** Lengths of moduli are counted in whole words: a square of 4,095 bits costs what 4,096 bits cost. */
const MODULUS_GRANULE = 64;

/** Lengths of exponents are counted in multiples of this many bits. */
const EXPONENT_GRANULE = 16;

/** An engine that does what another one does and counts what it is asked for. */
export class CountingEngine implements ModularEngine {
  readonly kind;
  readonly description;
  readonly #engine: ModularEngine;
  readonly #tally = new Tally();

  constructor(engine: ModularEngine) {
    this.kind = engine.kind;
    this.description = engine.description;
    this.#engine = engine;
  }

  /** What was counted since this was last asked. */
  take(): Counts {
    return this.#tally.take();
  }

  ring(modulus: bigint): Ring {
    return new CountingRing(this.#engine.ring(modulus), this.#tally);
  }

  jacobi(values: readonly bigint[], n: bigint): Promise<number[]> {
    this.#tally.add('jacobi', n, values.length);
    return this.#engine.jacobi(values, n);
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}

class Tally {
  #counts = new Map<string, Count>();

  add(
    kind: Operation['kind'],
    modulus: bigint,
    times: number,
    { exponentBits = 0, terms = 1 }: { exponentBits?: number; terms?: number } = {},
  ): void {
    if (times === 0) return;
    const modulusBits = MODULUS_GRANULE * Math.ceil(bitLength(modulus) / MODULUS_GRANULE);
    const operation = { kind, modulus, modulusBits, exponentBits, terms };
    const name = nameOf(operation);
    const known = this.#counts.get(name);
    this.#counts.set(name, {
      operation: known?.operation ?? operation,
      times: (known?.times ?? 0) + times,
    });
  }

  take(): Counts {
    const counts = this.#counts;
    this.#counts = new Map();
    return counts;
  }
}

class CountingRing implements Ring {
  readonly modulus: bigint;
  readonly #ring: Ring;
  readonly #tally: Tally;

  constructor(ring: Ring, tally: Tally) {
    this.modulus = ring.modulus;
    this.#ring = ring;
    this.#tally = tally;
  }

  multiply(a: bigint, b: bigint): bigint {
    this.#tally.add('multiply', this.modulus, 1);
    return this.#ring.multiply(a, b);
  }

  products(lists: readonly (readonly bigint[])[]): Promise<bigint[]> {
    for (const { length } of lists) {
      if (length > 1) this.#tally.add('product', this.modulus, 1, { terms: length });
    }
    return this.#ring.products(lists);
  }

  powers(jobs: readonly PowerJob[], exposure?: Exposure): Promise<bigint[]> {
    for (const job of jobs) {
      this.#tally.add('power', this.modulus, 1, { exponentBits: longestOf([job]) });
    }
    return this.#ring.powers(jobs, exposure);
  }

  multiPowers(lists: readonly (readonly PowerJob[])[], exposure?: Exposure): Promise<bigint[]> {
    for (const list of lists) {
      this.#tally.add(list.length === 1 ? 'power' : 'multiPower', this.modulus, 1, {
        exponentBits: longestOf(list),
        terms: list.length,
      });
    }
    return this.#ring.multiPowers(lists, exposure);
  }

  inverses(values: readonly bigint[]): Promise<bigint[]> {
    this.#tally.add('inverses', this.modulus, 1, { terms: values.length });
    return this.#ring.inverses(values);
  }

  fixedBase(base: bigint, maxExponentBits: number): FixedBase {
    const tally = this.#tallyOf(1, maxExponentBits);
    const fixed = this.#ring.fixedBase(base, maxExponentBits);
    return {
      base,
      maxExponentBits,
      power: (exponents, exposure) => {
        tally(exponents.length);
        return fixed.power(exponents, exposure);
      },
    };
  }

  fixedProducts(bases: readonly bigint[], maxExponentBits: number): FixedProducts {
    const tally = this.#tallyOf(bases.length, maxExponentBits);
    const fixed = this.#ring.fixedProducts(bases, maxExponentBits);
    return {
      bases,
      maxExponentBits,
      products: (lists, exposure) => {
        tally(lists.length);
        return fixed.products(lists, exposure);
      },
    };
  }

  /** A table is built on first use. */
  #tallyOf(terms: number, exponentBits: number): (times: number) => void {
    let built = false;
    return (times) => {
      if (times === 0) return;
      if (!built) this.#tally.add('table', this.modulus, 1, { exponentBits, terms });
      built = true;
      this.#tally.add('fixed', this.modulus, times, { exponentBits, terms });
    };
  }
}

/** Bits of the longest exponent, rounded up. */
function longestOf(jobs: readonly PowerJob[]): number {
  const longest = Math.max(0, ...jobs.map(({ exponent }) => bitLength(exponent)));
  return Math.ceil(longest / EXPONENT_GRANULE) * EXPONENT_GRANULE;
}
