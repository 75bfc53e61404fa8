/**
 * One suite for every arithmetic engine, against the schoolbook definition on BigInts.
 * `DUOVEIL_LONG_TESTS=1` runs more cases.
 */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';

import type { Exposure, ModularEngine, PowerJob } from './engine.js';
import { loadNativeEngine } from './native.js';
import { createPortableEngine } from './portable.js';

const numRuns = process.env['DUOVEIL_LONG_TESTS'] === '1' ? 200 : 10;
const exposures: readonly Exposure[] = ['secret', 'public'];

const engines: readonly [name: string, create: () => ModularEngine | undefined][] = [
  ['portable', () => createPortableEngine({ threads: 0 })],
  ['portable, threaded', () => createPortableEngine({ threads: 2 })],
  ['native', () => loadNativeEngine()],
  ['native, without IFMA', () => loadNativeEngine({ ifma: false })],
];

/** Large powers: every engine is asked the same. */
const knownPowers = new Map<string, bigint>();

/** The oracle: right-to-left square and multiply. */
function powerOf(job: PowerJob, modulus: bigint): bigint {
  if (modulus >> 2048n === 0n) return computePower(job, modulus);
  const key = [job.base, job.exponent, modulus].map((value) => value.toString(16)).join();
  const power = knownPowers.get(key) ?? computePower(job, modulus);
  knownPowers.set(key, power);
  return power;
}

function computePower({ base, exponent }: PowerJob, modulus: bigint): bigint {
  let result = 1n;
  let square = base;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

function productOf(factors: readonly bigint[], modulus: bigint): bigint {
  return factors.reduce((product, factor) => (product * factor) % modulus, 1n);
}

function multiPowerOf(terms: readonly PowerJob[], modulus: bigint): bigint {
  return productOf(
    terms.map((term) => powerOf(term, modulus)),
    modulus,
  );
}

function integerOfBits(bits: number): fc.Arbitrary<bigint> {
  return fc.bigInt({ min: 0n, max: (1n << BigInt(bits)) - 1n });
}

function oddModulus(bits: number): fc.Arbitrary<bigint> {
  const top = 1n << BigInt(bits - 1);
  return fc.oneof(
    { weight: 4, arbitrary: integerOfBits(bits - 1).map((low) => top | low | 1n) },
    // Of the form that leaves Montgomery arithmetic with short intermediate values.
    { weight: 1, arbitrary: fc.constantFrom(top * 2n - 1n, top | 1n) },
  );
}

/** Squares, for which the native engine has an arithmetic of its own where the processor helps. */
function oddSquare(rootBits: number): fc.Arbitrary<bigint> {
  return oddModulus(rootBits).map((root) => root * root);
}

function elementOf(modulus: bigint): fc.Arbitrary<bigint> {
  return fc.oneof(
    { weight: 5, arbitrary: fc.bigInt({ min: 0n, max: modulus - 1n }) },
    { weight: 1, arbitrary: fc.constantFrom(0n, 1n, 2n % modulus, modulus - 1n) },
  );
}

function exponent(maxBits: number): fc.Arbitrary<bigint> {
  const largest = (1n << BigInt(maxBits)) - 1n;
  return fc.oneof(
    { weight: 5, arbitrary: fc.bigInt({ min: 0n, max: largest }) },
    { weight: 1, arbitrary: fc.constantFrom(0n, 1n, largest, (largest + 1n) / 2n) },
  );
}

function term(modulus: bigint, maxBits: number): fc.Arbitrary<PowerJob> {
  return fc.record({ base: elementOf(modulus), exponent: exponent(maxBits) });
}

/** Word sizes and their neighbours, then what the protocols use. */
const modulusBits = fc.constantFrom(2, 3, 8, 63, 64, 65, 127, 128, 129, 512, 1000, 1024, 2048);
/**
 * Its digits have 52 bits, eight make a vector, and six bits stay free: lengths that just fill
 * digits and vectors or just do not, the longest and one too long; then what the protocols use.
 */
const rootBits = fc.constantFrom(
  ...[32, 63, 64, 65, 98, 99, 200, 410, 411, 512, 826, 827, 1000, 1024, 1242, 1536, 1700],
);
const anyModulus = fc.oneof(
  { weight: 2, arbitrary: modulusBits.chain(oddModulus) },
  { weight: 1, arbitrary: rootBits.chain(oddSquare) },
);

const ED25519_PRIME = 2n ** 255n - 19n;
const M521 = 2n ** 521n - 1n;
const M607 = 2n ** 607n - 1n;

/** 4096 bits, without small factors; their values do not matter. */
const LARGE = (2n ** 2203n - 1n) * (2n ** 1893n - 3n ** 20n);
const LARGE_SQUARE = (M607 * (2n ** 1441n - 3n ** 20n)) ** 2n;
const largeModuli = [
  ['any number', LARGE],
  ['a square', LARGE_SQUARE],
] as const;

describe.each(engines)('%s engine', (_name, create) => {
  const created = create();
  if (created === undefined) {
    test.skip('is not built here', () => undefined);
    return;
  }
  const engine = created;
  afterAll(() => engine.close());

  test('multiplies', () => {
    const cases = anyModulus.chain((m) => fc.tuple(fc.constant(m), elementOf(m), elementOf(m)));
    fc.assert(
      fc.property(cases, ([m, a, b]) => {
        expect(engine.ring(m).multiply(a, b)).toBe((a * b) % m);
      }),
      { numRuns: 10 * numRuns },
    );
  });

  test.each([64, 98, 99, 410, 411, 1024, 2048, 2074, 2075, 3072, 4153, 4154, 4155])(
    'multiplies modulo squares of %i bits, at the edges',
    async (bits) => {
      const top = 1n << BigInt(bits - 1);
      for (const root of [2n * top - 1n, top + 1n, 2n * top - 12345n * 2n - 1n]) {
        const modulus = root * root;
        const ring = engine.ring(modulus);
        const edges = [0n, 1n, root - 1n, root, root + 1n, modulus - root, modulus - 1n];
        // All ones in the lower and in the upper half of the digits.
        const half = 52n * BigInt(Math.ceil((bits + 6) / 52));
        const ones = (1n << half) - 1n;
        const values = [...edges, ones % modulus, (ones << half) % modulus];
        for (const a of values) {
          for (const b of values) expect(ring.multiply(a, b)).toBe((a * b) % modulus);
        }
        expect(await ring.products(values.map((value) => [value]))).toEqual(values);
        const chain = [...values.slice(1, 3), ...values.slice(4), modulus - 1n];
        expect(await ring.products([chain])).toEqual([productOf(chain, modulus)]);
        expect(
          await ring.powers(
            values.map((base) => ({ base, exponent: 5n })),
            'public',
          ),
        ).toEqual(values.map((value) => value ** 5n % modulus));
      }
    },
  );

  test('forms products of lists', async () => {
    const cases = anyModulus.chain((m) =>
      fc.tuple(fc.constant(m), fc.array(fc.array(elementOf(m), { maxLength: 40 }))),
    );
    await fc.assert(
      fc.asyncProperty(cases, async ([m, lists]) => {
        const expected = lists.map((list) => productOf(list, m));
        expect(await engine.ring(m).products(lists)).toEqual(expected);
      }),
      { numRuns: 5 * numRuns },
    );
  });

  test.each(largeModuli)('the product of any number of factors, modulo %s', async (_, large) => {
    const list = Array.from({ length: 70 }, (_, i) => large - BigInt(i + 1) ** 300n);
    const lists = list.map((_, i) => list.slice(0, i));
    const expected = lists.map((factors) => productOf(factors, large));
    expect(await engine.ring(large).products(lists)).toEqual(expected);
  });

  describe.each(exposures)('%s exponents', (exposure) => {
    test('raises to powers', async () => {
      const cases = anyModulus.chain((m) =>
        fc.tuple(fc.constant(m), fc.array(term(m, 300), { maxLength: 6 })),
      );
      await fc.assert(
        fc.asyncProperty(cases, async ([m, jobs]) => {
          const expected = jobs.map((job) => powerOf(job, m));
          expect(await engine.ring(m).powers(jobs, exposure)).toEqual(expected);
        }),
        { numRuns: 3 * numRuns },
      );
    });

    test.each(largeModuli)('raises to long powers modulo %s at full size', async (_, large) => {
      const jobs = [
        { base: large - 2n, exponent: large >> 1n },
        { base: 3n, exponent: 2n ** 1024n - 1n },
        { base: 0n, exponent: 5n },
        { base: 0n, exponent: 0n },
      ];
      const expected = jobs.map((job) => powerOf(job, large));
      expect(await engine.ring(large).powers(jobs, exposure)).toEqual(expected);
    });

    test('forms products of powers', async () => {
      const cases = fc
        .tuple(anyModulus, fc.integer({ min: 1, max: 140 }))
        .chain(([m, bits]) =>
          fc.tuple(
            fc.constant(m),
            fc.array(fc.array(term(m, bits), { maxLength: 16 }), { maxLength: 3 }),
          ),
        );
      await fc.assert(
        fc.asyncProperty(cases, async ([m, lists]) => {
          const expected = lists.map((terms) => multiPowerOf(terms, m));
          expect(await engine.ring(m).multiPowers(lists, exposure)).toEqual(expected);
        }),
        { numRuns: 5 * numRuns },
      );
    });

    test.each([2, 3, 5, 6, 14, 64, 65, 130])('forms a product of %i powers', async (terms) => {
      for (const [, large] of largeModuli) {
        const list = Array.from({ length: terms }, (_, i) => ({
          base: large - BigInt(i + 2) ** 500n,
          exponent: (M607 * BigInt(i + 1)) >> BigInt(607 - 110 + (i % 20)),
        }));
        const expected = multiPowerOf(list, large);
        expect(await engine.ring(large).multiPowers([list, []], exposure)).toEqual([expected, 1n]);
      }
    });

    test('raises a fixed base', async () => {
      const cases = fc
        .tuple(anyModulus, fc.integer({ min: 1, max: 700 }))
        .chain(([m, bits]) =>
          fc.tuple(
            fc.constant(m),
            fc.constant(bits),
            elementOf(m),
            fc.array(exponent(bits), { maxLength: 5 }),
          ),
        );
      await fc.assert(
        fc.asyncProperty(cases, async ([m, bits, base, exponents]) => {
          const fixed = engine.ring(m).fixedBase(base, bits);
          expect(fixed.base).toBe(base);
          expect(fixed.maxExponentBits).toBe(bits);
          const expected = exponents.map((e) => powerOf({ base, exponent: e }, m));
          expect(await fixed.power(exponents, exposure)).toEqual(expected);
        }),
        { numRuns: 5 * numRuns },
      );
    });

    test.each([1, 7, 110, 255, 1024, 1100])('a fixed base takes up to %i bits', async (bits) => {
      for (const [, large] of largeModuli) {
        const base = large - 12345n;
        const fixed = engine.ring(large).fixedBase(base, bits);
        const largest = (1n << BigInt(bits)) - 1n;
        const exponents = [largest, (largest + 1n) / 2n, 1n, 0n];
        const expected = exponents.map((e) => powerOf({ base, exponent: e }, large));
        expect(await fixed.power(exponents, exposure)).toEqual(expected);
        await expect(fixed.power([largest + 1n], exposure)).rejects.toThrow(RangeError);
        await expect(fixed.power([-1n], exposure)).rejects.toThrow(RangeError);
      }
    });
  });

  test('inverts', async () => {
    const moduli = [3n, ED25519_PRIME, M521, M607].flatMap((prime) => [
      { prime, modulus: prime },
      { prime, modulus: prime ** 2n },
    ]);
    const cases = fc.constantFrom(...moduli).chain(({ prime, modulus }) =>
      fc.tuple(
        fc.constant(modulus),
        fc.array(
          elementOf(modulus).filter((value) => value % prime !== 0n),
          { maxLength: 100 },
        ),
      ),
    );
    await fc.assert(
      fc.asyncProperty(cases, async ([modulus, values]) => {
        const inverses = await engine.ring(modulus).inverses(values);
        expect(inverses.map((inverse, i) => (inverse * (values[i] ?? 0n)) % modulus)).toEqual(
          values.map(() => 1n),
        );
        expect(inverses.every((inverse) => inverse > 0n && inverse < modulus)).toBe(true);
      }),
      { numRuns: 3 * numRuns },
    );
  });

  test('refuses to invert what has no inverse', async () => {
    const ring = engine.ring(ED25519_PRIME * M521);
    await expect(ring.inverses([0n])).rejects.toThrow(RangeError);
    await expect(ring.inverses([5n, M521, 7n])).rejects.toThrow('value is not invertible');
    const many = Array.from({ length: 300 }, (_, i) => BigInt(i + 1));
    await expect(ring.inverses([...many, ED25519_PRIME])).rejects.toThrow(RangeError);
    expect(await ring.inverses([1n])).toEqual([1n]);
    await expect(engine.ring(M521 ** 2n).inverses([3n, 5n * M521])).rejects.toThrow(RangeError);
  });

  test('Jacobi symbols follow the symbols of the factors', async () => {
    // Euler's criterion, modulo each of two primes.
    const legendre = (value: bigint, prime: bigint): number => {
      const power = powerOf({ base: value % prime, exponent: (prime - 1n) / 2n }, prime);
      return power > 1n ? -1 : Number(power);
    };
    const n = ED25519_PRIME * M521;
    await fc.assert(
      fc.asyncProperty(fc.array(integerOfBits(800), { maxLength: 5 }), async (values) => {
        const expected = values.map((v) => legendre(v, ED25519_PRIME) * legendre(v, M521));
        // Not -0, which the product of -1 and 0 is.
        expect(await engine.jacobi(values, n)).toEqual(expected.map((symbol) => symbol + 0));
      }),
      { numRuns: 3 * numRuns },
    );
    const special = [0n, 1n, n - 1n, M521, n, n + 1n];
    expect(await engine.jacobi(special, n)).toEqual([0, 1, legendre(n - 1n, M521), 0, 0, 1]);
    expect(await engine.jacobi([0n, 1n, 2n, 3n, 4n, 5n, 6n], 9n)).toEqual([0, 1, 1, 0, 1, 1, 0]);
  });

  test('empty batches', async () => {
    const ring = engine.ring(15n);
    expect(await ring.products([])).toEqual([]);
    expect(await ring.products([[]])).toEqual([1n]);
    expect(await ring.powers([])).toEqual([]);
    expect(await ring.multiPowers([])).toEqual([]);
    expect(await ring.multiPowers([[]])).toEqual([1n]);
    expect(await ring.inverses([])).toEqual([]);
    expect(await ring.fixedBase(2n, 10).power([])).toEqual([]);
    expect(await engine.jacobi([], 15n)).toEqual([]);
  });

  test('large batches keep their order', async () => {
    const ring = engine.ring(M607);
    const jobs = Array.from({ length: 1500 }, (_, i) => ({ base: BigInt(i), exponent: 65537n }));
    const expected = jobs.map((job) => powerOf(job, M607));
    expect(await ring.powers(jobs)).toEqual(expected);
    expect(await ring.multiPowers(jobs.map((job) => [job, job]))).toEqual(
      expected.map((value) => (value * value) % M607),
    );
    expect(await ring.products(jobs.map(({ base }) => [base, base, base]))).toEqual(
      jobs.map(({ base }) => base ** 3n % M607),
    );
  });

  test('concurrent batches do not mix', async () => {
    const moduli = [15n, ED25519_PRIME, M521, M607, LARGE, LARGE_SQUARE];
    const fixed = moduli.map((modulus) => engine.ring(modulus).fixedBase(7n, 64));
    const rounds = Array.from({ length: 8 }, (_, round) =>
      moduli.map(async (modulus, i) => {
        const e = 2n ** 63n + BigInt(round);
        const job = { base: modulus - 2n, exponent: e };
        const ring = engine.ring(modulus);
        const [power, multiPower, fixedPower] = await Promise.all([
          ring.powers([job]),
          ring.multiPowers([[job, job]]),
          fixed[i]?.power([e, e]),
        ]);
        expect(power).toEqual([powerOf(job, modulus)]);
        expect(multiPower).toEqual([multiPowerOf([job, job], modulus)]);
        const expected = powerOf({ base: 7n, exponent: e }, modulus);
        expect(fixedPower).toEqual([expected, expected]);
      }),
    );
    await Promise.all(rounds.flat());
  });

  test.each([-3n, 0n, 1n, 2n, 2n ** 64n])('has no ring modulo %s', (modulus) => {
    expect(() => engine.ring(modulus)).toThrow(RangeError);
  });

  test('fails after it was closed', async () => {
    const other = create();
    if (other === undefined) throw new Error('the engine is there no more');
    const ring = other.ring(M521);
    const fixed = ring.fixedBase(2n, 10);
    expect(await fixed.power([10n])).toEqual([1024n]);
    await other.close();
    expect(() => other.ring(15n)).toThrow();
    await expect(other.jacobi([1n], 15n)).rejects.toThrow();
    await expect(ring.products([[1n]])).rejects.toThrow();
    await expect(ring.powers([{ base: 1n, exponent: 1n }])).rejects.toThrow();
    await expect(ring.multiPowers([[]])).rejects.toThrow();
    await expect(ring.inverses([1n])).rejects.toThrow();
    await expect(fixed.power([1n])).rejects.toThrow();
    await other.close();
  });
});

const native = loadNativeEngine();

describe.skipIf(native === undefined)('native engine, beyond the interface', () => {
  const ring = native?.ring(M521);

  test('refuses operands outside the ring and negative exponents', async () => {
    if (ring === undefined) return;
    for (const bad of [-1n, M521, M607, -(2n ** 4096n)]) {
      expect(() => ring.multiply(bad, 1n)).toThrow(RangeError);
      expect(() => ring.multiply(1n, bad)).toThrow(RangeError);
      expect(() => ring.fixedBase(bad, 10)).toThrow(RangeError);
      await expect(ring.products([[1n, bad]])).rejects.toThrow(RangeError);
      await expect(ring.powers([{ base: bad, exponent: 1n }])).rejects.toThrow(RangeError);
      await expect(ring.multiPowers([[{ base: bad, exponent: 1n }]])).rejects.toThrow(RangeError);
      await expect(ring.inverses([bad])).rejects.toThrow(RangeError);
    }
    await expect(ring.powers([{ base: 2n, exponent: -1n }])).rejects.toThrow(RangeError);
    await expect(native?.jacobi([-1n], 15n)).rejects.toThrow(RangeError);
    await expect(native?.jacobi([1n], 16n)).rejects.toThrow(RangeError);
    for (const bits of [0, -1, 1.5, NaN, 2 ** 21]) {
      expect(() => ring.fixedBase(2n, bits)).toThrow(RangeError);
    }
  });

  test('refuses values of other types', async () => {
    if (ring === undefined) return;
    for (const wrong of [1, '1', undefined, null, {}, []] as unknown as bigint[]) {
      expect(() => native?.ring(wrong)).toThrow(TypeError);
      expect(() => ring.multiply(wrong, 1n)).toThrow(TypeError);
      await expect(ring.powers([{ base: wrong, exponent: 1n }])).rejects.toThrow(TypeError);
      await expect(ring.powers([{ base: 1n, exponent: wrong }])).rejects.toThrow(TypeError);
      await expect(ring.inverses([1n, wrong])).rejects.toThrow(TypeError);
      await expect(native?.jacobi([wrong], 15n)).rejects.toThrow(TypeError);
    }
  });

  test.each([
    [1, 40],
    [3, 1],
    [5, 255],
    [14, 110],
    [40, 64],
  ])('products over %i kept bases, exponents of %i bits', async (count, bits) => {
    const largest = (1n << BigInt(bits)) - 1n;
    for (const [, large] of largeModuli) {
      const bases = Array.from({ length: count }, (_, i) => large - BigInt(i + 2) ** 400n);
      const lists = [0n, 1n, 12345n].map((salt) =>
        bases.map((_, i) => largest ^ ((salt * BigInt(i + 1)) & largest)),
      );
      const expected = lists.map((exponents) =>
        multiPowerOf(
          exponents.map((e, i) => ({ base: bases[i] ?? 0n, exponent: e })),
          large,
        ),
      );
      for (const engine of [native, loadNativeEngine({ ifma: false })]) {
        const kept = engine?.ring(large).fixedProducts(bases, bits);
        for (const exposure of exposures) {
          expect(await kept?.products(lists, exposure)).toEqual(expected);
        }
        const few = bases.slice(1).map(() => 0n);
        await expect(kept?.products([bases.map(() => largest + 1n)])).rejects.toThrow(RangeError);
        await expect(kept?.products([few])).rejects.toThrow(RangeError);
      }
    }
  });

  test('Jacobi symbols of any length are those of the portable engine', async () => {
    const portable = createPortableEngine({ threads: 0 });
    const cases = fc.tuple(
      fc.constantFrom(2, 3, 63, 64, 65, 128, 500, 1024, 2048).chain(oddModulus),
      fc.array(fc.oneof(integerOfBits(4096), integerOfBits(64), integerOfBits(8)), {
        minLength: 20,
        maxLength: 20,
      }),
    );
    await fc.assert(
      fc.asyncProperty(cases, async ([n, values]) => {
        const multiples = values.slice(0, 2).map((value) => value * n);
        const asked = [...values, ...multiples, n - 1n, n + 1n];
        expect(await native?.jacobi(asked, n)).toEqual(await portable.jacobi(asked, n));
      }),
      { numRuns: 5 * numRuns },
    );
  });

  test('says what it uses', () => {
    expect(native?.description).toMatch(/^native( \(avx512ifma\))?$/);
    expect(loadNativeEngine({ ifma: false })?.description).toBe('native');
  });

  test('a batch under way survives the closing of the engine', async () => {
    const closing = loadNativeEngine();
    const jobs = Array.from({ length: 8 }, () => ({ base: 2n, exponent: 607n }));
    const pending = closing?.ring(M607).powers(jobs);
    await closing?.close();
    expect(await pending).toEqual(jobs.map(() => 1n));
  });
});
