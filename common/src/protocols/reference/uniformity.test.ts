/**
 * What the CSP sees says nothing: every value that it opens is uniform modulo N, independent of every
 * other, whatever the messages are. Each statistic is shown to catch protocols that mask badly.
 *
 * Seeds are fixed, so that nothing here fails by chance; over all seeds a false alarm of this whole
 * file has a probability below 1e-9.
 */
import { modInv } from 'bigint-crypto-utils';
import { describe, expect, it } from 'vitest';

import { testEngine } from '../../../../harness/src/local/engine.js';
import { localParties, type LocalParties } from '../../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../../harness/src/local/randomness.js';
import { chiSquare, suspicions } from '../../../../harness/src/statistics.js';
import { ciphertext, type Ciphertext, type MaskedOpening } from '../../bcp/ciphertext.js';
import type { GeneratorFamily } from '../../bcp/parameters.js';
import type { StrongDecryption } from '../../bcp/strong-decryption.js';
import {
  invertMatrix,
  multiplyMatrices,
  uniformInvertible,
  type Matrix,
} from '../../field/matrix.js';
import { uniformBelow, uniformBits, type RandomSource } from '../../random.js';
import { answerQuotients, requestQuotients } from './divide.js';
import { answerInverse, requestInverse } from './invert-matrix.js';
import { answerProducts, requestProducts } from './multiply.js';
import { answerOpening, requestOpening } from './open.js';
import { inPairs, inParts } from '../../lists.js';
import { mask, type CryptoServiceProviderRole } from './roles.js';
import { answerDifferences, requestDifferences } from './subtract.js';

const LONG = process.env['DUOVEIL_LONG_TESTS'] === '1';
const CALLS = LONG ? 4000 : 480;
const MATRIX_CALLS = LONG ? 2000 : 330;

/** Of one series of calls; there are fewer than 50 honest ones below. */
const SIGNIFICANCE = 1e-11;

const engine = testEngine();
const made = {
  residue: localParties(512, 'residue', engine, new SeededRandom('uniformity/residue')),
  bcp03: localParties(512, 'bcp03', engine, new SeededRandom('uniformity/bcp03')),
};

/** Master decryption that keeps what it opened, a list a call: all that the CSP ever sees. */
class WatchedDecryption implements StrongDecryption {
  readonly calls: bigint[][] = [];
  readonly elements: bigint[] = [];
  readonly #decryption: StrongDecryption;

  constructor(decryption: StrongDecryption) {
    this.#decryption = decryption;
  }

  async open(publicKey: bigint, openings: readonly MaskedOpening[]): Promise<bigint[]> {
    const opened = await this.#decryption.open(publicKey, openings);
    this.calls.push(opened);
    this.elements.push(...openings.flatMap(({ a, b }) => (a === undefined ? [b] : [a, b])));
    return opened;
  }
}

/** Inputs without any entropy, at the ends and in the middle. */
const inputsOf = (N: bigint): Readonly<Record<string, bigint>> => ({
  'all zeros': 0n,
  'all greatest': N - 1n,
  'one constant': 2n ** 16n - 1n,
});

type Operation = (
  sp: LocalParties,
  csp: CryptoServiceProviderRole,
  operands: readonly [Ciphertext, Ciphertext],
  random: RandomSource,
) => Promise<unknown>;

const OPERATIONS: Readonly<Record<string, Operation>> = {
  subtract: async (sp, csp, [left, right], random) => {
    const { pairs } = await requestDifferences(sp, [{ left, right }], random);
    return answerDifferences(csp, pairs, random);
  },
  multiply: async (sp, csp, [left, right], random) => {
    const { pairs } = await requestProducts(sp, [{ left, right }], random);
    return answerProducts(csp, pairs, random);
  },
  divide: async (sp, csp, operands, random) => {
    const { openings } = await requestQuotients(sp, operands, random);
    return answerQuotients(csp, openings, 30n, random);
  },
  open: async (sp, csp, operands, random) => {
    const { openings } = await requestOpening(sp, operands, random);
    return answerOpening(csp, openings);
  },
};

/** Both operands the same message, one ciphertext each, asked again and again. */
async function watch(family: GeneratorFamily, operation: Operation, input: bigint, seed: string) {
  const parties = await made[family];
  const random = new SeededRandom(`${seed}/${input.toString(16)}`);
  const [left, right] = await parties.key.encrypt([input, input], random);
  if (left === undefined || right === undefined) throw new Error('nothing was encrypted');
  const decryption = new WatchedDecryption(parties.decryption);
  const csp = { key: parties.key, decryption };
  for (let call = 0; call < CALLS; call++) await operation(parties, csp, [left, right], random);
  const { calls, elements } = decryption;
  return { calls, elements, N: parties.bcp.parameters.modulus };
}

describe('what the CSP opens', () => {
  const cases = Object.entries(OPERATIONS).flatMap(([name, operation]) =>
    ['all zeros', 'all greatest', 'one constant'].map((input) => ({ name, operation, input })),
  );

  it.each(cases)('to $name, $input, is uniform and independent', async (honest) => {
    const { modulus: N } = (await made.residue).bcp.parameters;
    const input = inputsOf(N)[honest.input] ?? 0n;
    const { calls, elements } = await watch('residue', honest.operation, input, honest.name);
    expect(calls).toHaveLength(CALLS);
    expect(suspicions(calls, N, SIGNIFICANCE)).toEqual([]);
    // No mask twice (equal messages: equal masks would show as equal values), no ciphertext twice.
    expect(new Set(calls.flat()).size).toBe(2 * CALLS);
    expect(new Set(elements).size).toBe(2 * CALLS);
  });

  it('is uniform and independent in the other family, too', async () => {
    const { calls, elements, N } = await watch(
      'bcp03',
      OPERATIONS['open'] ?? expect.fail(),
      0n,
      'b',
    );
    expect(suspicions(calls, N, SIGNIFICANCE)).toEqual([]);
    expect(new Set(elements).size).toBe(4 * CALLS);
  });
});

describe('masks that are not as they should be are noticed:', () => {
  /** As `mask` in roles.ts, but with masks of this kind. */
  const badlyMasked =
    (draw: (N: bigint, random: RandomSource) => readonly bigint[]): Operation =>
    async ({ key, bcp }, csp, operands, random) => {
      const masks = draw(bcp.parameters.modulus, random);
      const hidden = operands.map((operand, i) => bcp.addConstant(operand, -(masks[i] ?? 0n)));
      await csp.decryption.open(key.publicKey, await key.rerandomiseForOpening(hidden, random));
    };

  const fresh = (N: bigint, random: RandomSource) => [
    uniformBelow(N, random),
    uniformBelow(N, random),
  ];
  let kept: readonly bigint[] | undefined;
  let previous = 0n;

  const variants: readonly (readonly [
    name: string,
    draw: (N: bigint, random: RandomSource) => readonly bigint[],
    noticed: readonly string[],
  ])[] = [
    ['none', () => [0n, 0n], ['column 0: top bits', 'column 1: low bits', 'repetition']],
    [
      'of half the bits',
      (_N, random) => [uniformBits(256, random), uniformBits(256, random)],
      ['column 0: top bits', 'column 1: top bits', 'columns 0, 1: difference'],
    ],
    [
      // 2^511 < N < 2^512: one bit too few, where the ciphertext's length would not show it.
      'of one bit too few',
      (_N, random) => [uniformBits(511, random), uniformBits(511, random)],
      ['column 0: top bits', 'column 1: top bits'],
    ],
    [
      'one for both operands',
      (N, random) => {
        const [one = 0n] = fresh(N, random);
        return [one, one];
      },
      ['columns 0, 1: difference', 'columns 0, 1: jointly', 'repetition'],
    ],
    [
      'opposite ones for the two operands',
      (N, random) => {
        const [one = 0n] = fresh(N, random);
        return [one, N - one];
      },
      ['columns 0, 1: sum', 'columns 0, 1: jointly'],
    ],
    [
      'the same in every call',
      (N, random) => (kept ??= fresh(N, random)),
      ['column 0: top bits', 'calls, column 0: difference', 'repetition'],
    ],
    [
      'carried over from one call to the next',
      (N, random) => {
        const [one = 0n, other = 0n] = fresh(N, random);
        previous = (previous + (one >> 5n)) % N;
        return [previous, other];
      },
      ['calls, column 0: difference', 'calls, column 0: jointly'],
    ],
    [
      'without their low bits',
      (N, random) => fresh(N, random).map((value) => value & ~0xfn),
      ['column 0: low bits', 'column 1: low bits'],
    ],
  ];

  it.each(variants)('%s', async (name, draw, noticed) => {
    kept = undefined;
    previous = 0n;
    const { calls, N } = await watch('residue', badlyMasked(draw), 0n, name);
    expect(suspicions(calls, N, SIGNIFICANCE)).toEqual(expect.arrayContaining([...noticed]));
  });

  it('while the same harness finds nothing in good ones', async () => {
    const { calls, N } = await watch('residue', badlyMasked(fresh), 0n, 'good');
    expect(suspicions(calls, N, SIGNIFICANCE)).toEqual([]);
  });
});

describe('what the CSP opens to invert a matrix', () => {
  const identity = [
    [1n, 0n],
    [0n, 1n],
  ];
  const shapes = (N: bigint): Readonly<Record<string, Matrix>> => ({
    identity,
    'all greatest, but for the floor': [
      [N - 1n, N - 2n],
      [N - 2n, N - 1n],
    ],
    'a covariance of constants': [
      [9n, 0n],
      [0n, 1n],
    ],
  });

  /** The four entries of `R·S`, and what a bad `R` leaves constant: the ratios along rows and columns. */
  const described = (matrix: Matrix, N: bigint): bigint[] => {
    const [[a = 0n, b = 0n] = [], [c = 0n, d = 0n] = []] = matrix;
    const ratio = (x: bigint, y: bigint) => (y === 0n ? 0n : (x * modInv(y, N)) % N);
    return [a, b, c, d, ratio(a, b), ratio(c, d), ratio(a, c), ratio(b, d)];
  };

  // A uniform R hides any S alike, as the test after this one shows for many more calls.
  const watched = ['all greatest, but for the floor'];
  if (LONG) watched.push('identity', 'a covariance of constants');

  it.each(watched)('is uniform: %s', async (name) => {
    const parties = await made.residue;
    const { modulus: N } = parties.bcp.parameters;
    const random = new SeededRandom(`matrices/${name}`);
    const matrix = shapes(N)[name] ?? identity;
    const encrypted = inParts(await parties.key.encrypt(matrix.flat(), random), 2);
    const decryption = new WatchedDecryption(parties.decryption);
    const csp = { key: parties.key, decryption };
    for (let call = 0; call < MATRIX_CALLS; call++) {
      const { entries } = await requestInverse(parties, encrypted, random);
      if (call < 3) await answerInverse(csp, 2, entries, random);
      else await decryption.open(parties.keys.publicKey, entries);
    }
    const seen = decryption.calls.map((opened) => described(inParts(opened, 2), N));
    expect(suspicions(seen, N, SIGNIFICANCE)).toEqual([]);
    expect(new Set(decryption.elements).size).toBe(4 * MATRIX_CALLS);
  });

  it.each([2, 3, 5])('is a uniform invertible matrix of dimension %i, whatever S is', async (p) => {
    const { modulus: N } = (await made.residue).bcp.parameters;
    const random = new SeededRandom(`GL/${p}`);
    const { matrix: S } = uniformInvertible(p, N, random);
    const calls = Array.from({ length: CALLS }, () => {
      const product = multiplyMatrices(uniformInvertible(p, N, random).matrix, S, N);
      return [...product.flat(), invertMatrix(product, N)?.determinant ?? 0n];
    });
    expect(suspicions(calls, N, SIGNIFICANCE)).toEqual([]);
  });

  const bad: readonly (readonly [
    string,
    (N: bigint, random: RandomSource) => Matrix,
    Matrix,
    string,
  ])[] = [
    [
      'the identity',
      () => identity,
      shapes(2n ** 200n)['a covariance of constants'] ?? identity,
      'column 0: top bits',
    ],
    [
      'diagonal, on a diagonal S',
      (N, random) => [
        [uniformBelow(N, random), 0n],
        [0n, uniformBelow(N, random)],
      ],
      identity,
      'column 1: top bits',
    ],
    [
      // Every entry alone is uniform: only the ratio within a row gives it away.
      'diagonal, on a full S',
      (N, random) => [
        [uniformBelow(N, random), 0n],
        [0n, uniformBelow(N, random)],
      ],
      [
        [123456789n ** 15n, 987654321n ** 15n],
        [987654321n ** 15n, 3n * 10n ** 140n],
      ],
      'column 4: top bits',
    ],
    [
      'a multiple of the identity',
      (N, random) => {
        const factor = uniformBelow(N, random);
        return [
          [factor, 0n],
          [0n, factor],
        ];
      },
      [
        [123456789n ** 15n, 987654321n ** 15n],
        [987654321n ** 15n, 3n * 10n ** 140n],
      ],
      'column 6: top bits',
    ],
    [
      'triangular',
      (N, random) => [
        [uniformBelow(N, random), uniformBelow(N, random)],
        [0n, uniformBelow(N, random)],
      ],
      identity,
      'column 2: top bits',
    ],
    [
      'of half the bits',
      (_N, random) => [
        [uniformBits(256, random), uniformBits(256, random)],
        [uniformBits(256, random), uniformBits(256, random)],
      ],
      identity,
      'column 3: top bits',
    ],
  ];

  it.each(bad)('is noticed where R is %s', async (name, draw, S, noticed) => {
    const { modulus: N } = (await made.residue).bcp.parameters;
    const random = new SeededRandom(`bad/${name}`);
    const calls = Array.from({ length: MATRIX_CALLS }, () =>
      described(multiplyMatrices(draw(N, random), S, N), N),
    );
    expect(suspicions(calls, N, SIGNIFICANCE)).toContain(noticed);
  });
});

describe('rerandomisation', () => {
  const setting = async () => {
    const parties = await made.residue;
    const random = new SeededRandom('linking');
    const { modulus: N } = parties.bcp.parameters;
    /** Requests as they would be without rerandomisation: the mask alone. */
    const unprotected = (list: readonly Ciphertext[]) =>
      list.map((item) => parties.bcp.addConstant(item, -uniformBelow(N, random)));
    /** A mask changes B by a factor 1 + kN: modulo N it does not change at all. */
    const trace = ({ b }: { readonly b: bigint }) => b % N;
    return { ...parties, random, unprotected, trace };
  };

  it('keeps the CSP from seeing that two requests use the same ciphertext', async () => {
    const parties = await setting();
    const { key, random, unprotected, trace } = parties;
    const list = await key.encrypt([1n, 2n, 3n], random);
    const [first, second] = [unprotected(list), unprotected(list)];
    expect(first.map(trace)).toEqual(second.map(trace));
    const [one, two] = [await mask(parties, list, random), await mask(parties, list, random)];
    const traces = [...one.openings, ...two.openings, ...list].map(trace);
    expect(new Set(traces).size).toBe(9);
  });

  it('keeps the CSP from recognising, masked, what it answered before', async () => {
    const parties = await setting();
    const { key, random, unprotected, trace } = parties;
    const list = await key.encrypt([4n, 5n], random);
    const { pairs } = await requestProducts(
      parties,
      inPairs(list).map(([left, right]) => ({ left, right })),
      random,
    );
    const answer = await answerProducts(parties, pairs, random);
    expect(unprotected(answer).map(trace)).toEqual(answer.map(trace));
    const { openings } = await mask(parties, answer, random);
    expect(openings.map(trace)).not.toEqual(answer.map(trace));
  });

  it('gives what is sent randomness of its own, also where the ciphertexts had none', async () => {
    const parties = await setting();
    const { bcp, random, unprotected, trace } = parties;
    // (1, 1 + mN): modulo N, every product of powers of it is 1.
    const bare = [3n, 1n, 1n, 4n].map((m) => ciphertext(1n, bcp.messageFactor(m)));
    expect(unprotected(bare).map(trace)).toEqual([1n, 1n, 1n, 1n]);
    const scaled = await bcp.scale(
      bare.map((item) => ({ ciphertext: item, factor: uniformBelow(2n ** 500n, random) })),
    );
    expect(scaled.map(trace)).toEqual([1n, 1n, 1n, 1n]);
    const { openings } = await mask(parties, bare, random);
    const { entries } = await requestInverse(parties, inParts(bare, 2), random);
    expect(new Set([1n, ...openings.map(trace), ...entries.map(trace)]).size).toBe(9);
  });

  it('never repeats an element, sent or answered, for one and the same message', async () => {
    for (const family of ['residue', 'bcp03'] as const) {
      const parties = await made[family];
      const random = new SeededRandom(`elements/${family}`);
      const [x] = await parties.key.encrypt([0n], random);
      if (x === undefined) throw new Error('nothing was encrypted');
      const elements: (bigint | undefined)[] = [x.a, x.b];
      for (let call = 0; call < 50; call++) {
        const { pairs } = await requestDifferences(parties, [{ left: x, right: x }], random);
        const answer = await answerDifferences(parties, pairs, random);
        const sent = pairs.flatMap(({ left, right }) => [left, right]);
        for (const { a, b } of [...sent, ...answer])
          elements.push(...(a === undefined ? [b] : [a, b]));
      }
      expect(new Set(elements).size).toBe(elements.length);
    }
  });
});

describe('the statistics themselves', () => {
  it('are those of Pearson', () => {
    // Knuth, TAOCP 2, section 3.3.1, has unequal buckets; equal ones by hand: (5² + 5²)/15.
    expect(chiSquare([10, 20])).toBeCloseTo(50 / 15, 12);
    expect(chiSquare([7, 7, 7])).toBe(0);
  });

  it('are as often beyond a level as the level says', () => {
    const random = new SeededRandom('level');
    const modulus = 1_000_003n;
    let alarms = 0;
    for (let series = 0; series < 200; series++) {
      const calls = Array.from({ length: 320 }, () => [uniformBelow(modulus, random)]);
      if (suspicions(calls, modulus, 0.2).some((name) => name !== 'repetition')) alarms++;
    }
    // 40 expected, less what the tests have in common; standard deviation below 6.
    expect(alarms).toBeGreaterThan(15);
    expect(alarms).toBeLessThan(70);
  });

  it('need enough calls', () => {
    expect(() => suspicions([[1n]], 7n, 1e-9)).toThrow(RangeError);
  });
});
