import { availableParallelism } from 'node:os';

import { bitLength } from '../integers.js';
import { Turns } from '../turns.js';
import type { FixedBase, FixedProducts, ModularEngine, PowerJob, Ring } from './engine.js';
import { Comb, inverses, jacobi, product } from './kernel.js';
import { runTask } from './tasks.js';
import { WorkerPool } from './worker-pool.js';
import type { WorkerTask } from './worker-protocol.js';

/** Below this size a batch costs less than sending it to another thread. */
const WORTH_SENDING_BITS = 1024;

/** What runs on the calling thread holds its event loop no longer than this in one go, in milliseconds. */
const LONGEST_GO_MS = 5;

/** However many compute on the calling thread at once: together they take no more of a turn of its event loop. */
class Pace {
  readonly #turns = new Turns();
  #since = -Infinity;

  /** Before each piece of work. */
  async keep(): Promise<void> {
    if (performance.now() - this.#since <= LONGEST_GO_MS) return;
    await this.#turns.next();
    this.#since = performance.now();
  }
}

/** A process has one event loop, whatever the number of engines. */
const pace = new Pace();

/** Options of the portable engine. */
export interface PortableEngineOptions {
  /** Worker threads for batches; 0 keeps everything on the calling thread. Default: one a core. */
  readonly threads?: number;
}

/** The portable engine: BigInt and `bigint-crypto-utils`, spread over worker threads. */
export function createPortableEngine(options: PortableEngineOptions = {}): ModularEngine {
  return new PortableEngine(options.threads ?? availableParallelism());
}

class PortableEngine implements ModularEngine {
  readonly kind = 'portable';
  readonly description = 'portable';
  readonly #pool: WorkerPool | undefined;
  #closed = false;

  constructor(threads: number) {
    this.#pool = threads > 0 ? new WorkerPool(threads) : undefined;
  }

  ring(modulus: bigint): Ring {
    this.#requireOpen();
    if (modulus <= 1n || (modulus & 1n) === 0n) throw new RangeError('modulus must be odd and > 1');
    return new PortableRing(modulus, this.#pool, () => {
      this.#requireOpen();
    });
  }

  async jacobi(values: readonly bigint[], n: bigint): Promise<number[]> {
    this.#requireOpen();
    return mapYielding(values, (value) => jacobi(value, n));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#pool?.close();
  }

  #requireOpen(): void {
    if (this.#closed) throw new Error('the arithmetic engine is closed');
  }
}

class PortableRing implements Ring {
  readonly modulus: bigint;
  readonly #pool: WorkerPool | undefined;
  readonly #requireOpen: () => void;

  constructor(modulus: bigint, pool: WorkerPool | undefined, requireOpen: () => void) {
    this.modulus = modulus;
    this.#pool = pool;
    this.#requireOpen = requireOpen;
  }

  multiply(a: bigint, b: bigint): bigint {
    return (a * b) % this.modulus;
  }

  async products(lists: readonly (readonly bigint[])[]): Promise<bigint[]> {
    this.#requireOpen();
    return mapYielding(lists, (factors) => product(this.modulus, factors));
  }

  async powers(jobs: readonly PowerJob[]): Promise<bigint[]> {
    return this.#spread(jobs, (share) => ({ kind: 'powers', modulus: this.modulus, jobs: share }));
  }

  async multiPowers(lists: readonly (readonly PowerJob[])[]): Promise<bigint[]> {
    return this.#spread(lists, (share) => ({
      kind: 'multiPowers',
      modulus: this.modulus,
      jobs: share,
    }));
  }

  async inverses(values: readonly bigint[]): Promise<bigint[]> {
    this.#requireOpen();
    await pace.keep();
    return inverses(this.modulus, values);
  }

  fixedBase(base: bigint, maxExponentBits: number): FixedBase {
    return new PortableFixedBase(base, this.fixedProducts([base], maxExponentBits));
  }

  fixedProducts(bases: readonly bigint[], maxExponentBits: number): FixedProducts {
    return new PortableFixedProducts(this.modulus, bases, maxExponentBits, this.#requireOpen);
  }

  async #spread<Job>(
    jobs: readonly Job[],
    task: (share: readonly Job[]) => WorkerTask,
  ): Promise<bigint[]> {
    this.#requireOpen();
    const pool = this.#pool;
    if (pool === undefined || bitLength(this.modulus) < WORTH_SENDING_BITS) {
      return mapYielding(jobs, (job) => runTask(task([job]))[0] ?? 1n);
    }
    // One share a job: jobs of this size outweigh the message, and no thread waits for another.
    const results = await Promise.all(jobs.map((job) => pool.run(task([job]))));
    return results.flat();
  }
}

class PortableFixedProducts implements FixedProducts {
  readonly bases: readonly bigint[];
  readonly maxExponentBits: number;
  readonly #modulus: bigint;
  readonly #requireOpen: () => void;
  #combs: Promise<Comb[]> | undefined;

  constructor(
    modulus: bigint,
    bases: readonly bigint[],
    maxExponentBits: number,
    requireOpen: () => void,
  ) {
    this.bases = [...bases];
    this.maxExponentBits = maxExponentBits;
    this.#modulus = modulus;
    this.#requireOpen = requireOpen;
  }

  async products(lists: readonly (readonly bigint[])[]): Promise<bigint[]> {
    this.#requireOpen();
    for (const exponents of lists) {
      if (exponents.length !== this.bases.length) {
        throw new RangeError('there must be one exponent for each base');
      }
      if (exponents.some((e) => e < 0n || bitLength(e) > this.maxExponentBits)) {
        throw new RangeError('exponent is out of range');
      }
    }
    const modulus = this.#modulus;
    const combs = await (this.#combs ??= Promise.all(
      this.bases.map((base) => Comb.build(modulus, base, this.maxExponentBits, () => pace.keep())),
    ));
    const results: bigint[] = [];
    for (const exponents of lists) {
      let result = 1n;
      for (const [i, comb] of combs.entries()) {
        await pace.keep();
        result = (result * comb.power(exponents[i] ?? 0n)) % modulus;
      }
      results.push(result);
    }
    return results;
  }
}

class PortableFixedBase implements FixedBase {
  readonly base: bigint;
  readonly maxExponentBits: number;
  readonly #products: FixedProducts;

  constructor(base: bigint, products: FixedProducts) {
    this.base = base;
    this.maxExponentBits = products.maxExponentBits;
    this.#products = products;
  }

  power(exponents: readonly bigint[]): Promise<bigint[]> {
    return this.#products.products(exponents.map((exponent) => [exponent]));
  }
}

/** Map on the calling thread, at the {@link pace} of everybody there. */
async function mapYielding<T, U>(items: readonly T[], apply: (item: T) => U): Promise<U[]> {
  const results: U[] = [];
  for (const item of items) {
    await pace.keep();
    results.push(apply(item));
  }
  return results;
}
