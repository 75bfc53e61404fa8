import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';

import type {
  Exposure,
  FixedBase,
  FixedProducts,
  ModularEngine,
  PowerJob,
  Ring,
} from './engine.js';

/** What `common/native` exports. Handles are opaque and of this addon only. */
interface Addon {
  readonly interfaceVersion: number;
  /** Whether the processor has AVX-512 IFMA and the addon was built to use it. */
  readonly ifma: boolean;
  createRing(modulus: bigint, maySplit: boolean): RingHandle;
  multiply(ring: RingHandle, a: bigint, b: bigint): bigint;
  products(
    ring: RingHandle,
    factors: readonly bigint[],
    lengths: readonly number[],
    workers: number,
  ): Promise<bigint[]>;
  powers(
    ring: RingHandle,
    bases: readonly bigint[],
    exponents: readonly bigint[],
    secret: boolean,
    workers: number,
  ): Promise<bigint[]>;
  multiPowers(
    ring: RingHandle,
    bases: readonly bigint[],
    exponents: readonly bigint[],
    lengths: readonly number[],
    secret: boolean,
    workers: number,
  ): Promise<bigint[]>;
  inverses(ring: RingHandle, values: readonly bigint[], workers: number): Promise<bigint[]>;
  jacobi(values: readonly bigint[], n: bigint, workers: number): Promise<number[]>;
  buildComb(ring: RingHandle, bases: readonly bigint[], maxBits: number): Promise<CombHandle>;
  combPowers(
    comb: CombHandle,
    exponents: readonly bigint[],
    secret: boolean,
    workers: number,
  ): Promise<bigint[]>;
}

declare const handle: unique symbol;
interface RingHandle {
  readonly [handle]: 'ring';
}
interface CombHandle {
  readonly [handle]: 'comb';
}

/** The addon of another version of the sources is no addon. Stands in `native/addon.c` as well. */
const INTERFACE_VERSION = 2;

/** The same from `src/modular` and from `dist/modular`. */
const ADDON_PATH = '../../build/duoveil_native.node';

/** Longer exponents than this have no table; stands in `native/addon.c` as well. */
const MAX_TABLE_EXPONENT_BITS = 2 ** 20;

/** Options of the native engine, for tests and comparisons. */
export interface NativeEngineOptions {
  /** False leaves out the processor's AVX-512 IFMA instructions where it has them. Default: true. */
  readonly ifma?: boolean;
}

/**
 * The native engine, on libuv's threads and in constant time for secret exponents: OpenSSL's
 * arithmetic and, modulo squares and on processors with AVX-512 IFMA, its own.
 * `undefined` where `scripts/build-native.mjs` has not built it, or it does not load.
 */
export function loadNativeEngine(options: NativeEngineOptions = {}): NativeEngine | undefined {
  const addon = loadAddon();
  return addon && new NativeEngine(addon, addon.ifma && options.ifma !== false);
}

function loadAddon(): Addon | undefined {
  try {
    const addon = createRequire(import.meta.url)(ADDON_PATH) as Addon;
    return addon.interfaceVersion === INTERFACE_VERSION ? addon : undefined;
  } catch {
    return undefined;
  }
}

/** What rings and tables share with their engine. */
class Session {
  readonly addon: Addon;
  readonly ifma: boolean;
  /** Threads for one batch; libuv's pool has four unless `UV_THREADPOOL_SIZE` says otherwise. */
  readonly workers = availableParallelism();
  #closed = false;

  constructor(addon: Addon, ifma: boolean) {
    this.addon = addon;
    this.ifma = ifma;
  }

  requireOpen(): void {
    if (this.#closed) throw new Error('the arithmetic engine is closed');
  }

  close(): void {
    this.#closed = true;
  }
}

/** See `loadNativeEngine`. */
export class NativeEngine implements ModularEngine {
  readonly kind = 'native';
  readonly description: string;
  readonly #session: Session;

  /** @param ifma only where the addon says that it can */
  constructor(addon: Addon, ifma: boolean) {
    this.description = ifma ? 'native (avx512ifma)' : 'native';
    this.#session = new Session(addon, ifma);
  }

  ring(modulus: bigint): NativeRing {
    this.#session.requireOpen();
    return new NativeRing(this.#session, modulus);
  }

  async jacobi(values: readonly bigint[], n: bigint): Promise<number[]> {
    this.#session.requireOpen();
    return this.#session.addon.jacobi(values, n, this.#session.workers);
  }

  /** Batches under way come to their end; the threads are libuv's, and stay. */
  close(): Promise<void> {
    this.#session.close();
    return Promise.resolve();
  }
}

/** A ring of the native engine. */
export class NativeRing implements Ring {
  readonly modulus: bigint;
  readonly #session: Session;
  readonly #handle: RingHandle;

  constructor(session: Session, modulus: bigint) {
    this.modulus = modulus;
    this.#session = session;
    this.#handle = session.addon.createRing(modulus, session.ifma);
  }

  multiply(a: bigint, b: bigint): bigint {
    this.#session.requireOpen();
    return this.#session.addon.multiply(this.#handle, a, b);
  }

  async products(lists: readonly (readonly bigint[])[]): Promise<bigint[]> {
    const { addon, workers } = this.#open();
    return addon.products(this.#handle, lists.flat(), lengthsOf(lists), workers);
  }

  async powers(jobs: readonly PowerJob[], exposure: Exposure = 'secret'): Promise<bigint[]> {
    const { addon, workers } = this.#open();
    const { bases, exponents } = split(jobs);
    return addon.powers(this.#handle, bases, exponents, exposure === 'secret', workers);
  }

  async multiPowers(
    lists: readonly (readonly PowerJob[])[],
    exposure: Exposure = 'secret',
  ): Promise<bigint[]> {
    const { addon, workers } = this.#open();
    const { bases, exponents } = split(lists.flat());
    const lengths = lengthsOf(lists);
    return addon.multiPowers(
      this.#handle,
      bases,
      exponents,
      lengths,
      exposure === 'secret',
      workers,
    );
  }

  async inverses(values: readonly bigint[]): Promise<bigint[]> {
    const { addon, workers } = this.#open();
    return addon.inverses(this.#handle, values, workers);
  }

  fixedBase(base: bigint, maxExponentBits: number): FixedBase {
    return new NativeFixedBase(this.fixedProducts([base], maxExponentBits), base);
  }

  /** Products of powers of bases that are used again and again; they share one table. */
  fixedProducts(bases: readonly bigint[], maxExponentBits: number): NativeFixedProducts {
    this.#session.requireOpen();
    if (bases.length === 0 || bases.some((base) => base < 0n || base >= this.modulus)) {
      throw new RangeError('value is not in [0, modulus)');
    }
    if (
      !Number.isInteger(maxExponentBits) ||
      maxExponentBits < 1 ||
      maxExponentBits > MAX_TABLE_EXPONENT_BITS
    ) {
      throw new RangeError('maxExponentBits is out of range');
    }
    return new NativeFixedProducts(this.#session, this.#handle, [...bases], maxExponentBits);
  }

  #open(): Session {
    this.#session.requireOpen();
    return this.#session;
  }
}

/** `Π base^exponent` for bases that stay the same. */
export class NativeFixedProducts implements FixedProducts {
  readonly bases: readonly bigint[];
  readonly maxExponentBits: number;
  readonly #session: Session;
  readonly #ring: RingHandle;
  #table: Promise<CombHandle> | undefined;

  constructor(
    session: Session,
    ring: RingHandle,
    bases: readonly bigint[],
    maxExponentBits: number,
  ) {
    this.bases = bases;
    this.maxExponentBits = maxExponentBits;
    this.#session = session;
    this.#ring = ring;
  }

  /** The product for each list of exponents, one exponent for each base. */
  async products(
    lists: readonly (readonly bigint[])[],
    exposure: Exposure = 'secret',
  ): Promise<bigint[]> {
    this.#session.requireOpen();
    if (lists.some((exponents) => exponents.length !== this.bases.length)) {
      throw new RangeError('there must be one exponent for each base');
    }
    const { addon, workers } = this.#session;
    return addon.combPowers(await this.#built(), lists.flat(), exposure === 'secret', workers);
  }

  /** Built once, on first use, also where several calls come before it is ready. */
  async #built(): Promise<CombHandle> {
    this.#table ??= this.#session.addon.buildComb(this.#ring, this.bases, this.maxExponentBits);
    try {
      return await this.#table;
    } catch (error) {
      this.#table = undefined;
      throw error;
    }
  }
}

class NativeFixedBase implements FixedBase {
  readonly base: bigint;
  readonly maxExponentBits: number;
  readonly #products: NativeFixedProducts;

  constructor(products: NativeFixedProducts, base: bigint) {
    this.base = base;
    this.maxExponentBits = products.maxExponentBits;
    this.#products = products;
  }

  power(exponents: readonly bigint[], exposure: Exposure = 'secret'): Promise<bigint[]> {
    return this.#products.products(
      exponents.map((exponent) => [exponent]),
      exposure,
    );
  }
}

function lengthsOf(lists: readonly (readonly unknown[])[]): number[] {
  return lists.map((list) => list.length);
}

function split(jobs: readonly PowerJob[]): { bases: bigint[]; exponents: bigint[] } {
  return { bases: jobs.map(({ base }) => base), exponents: jobs.map(({ exponent }) => exponent) };
}
