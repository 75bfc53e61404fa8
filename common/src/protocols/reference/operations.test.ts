import { modInv } from 'bigint-crypto-utils';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { testEngine } from '../../../../harness/src/local/engine.js';
import { LocalBlindedArithmetic } from '../../../../harness/src/local/arithmetic.js';
import { localParties, type LocalParties } from '../../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../../harness/src/local/randomness.js';
import type { TestModulusBits } from '../../../../harness/src/local/test-primes.js';
import type { Ciphertext } from '../../bcp/ciphertext.js';
import { decrypt } from '../../bcp/keys.js';
import type { GeneratorFamily } from '../../bcp/parameters.js';
import { invertMatrix, multiplyMatrices } from '../../field/matrix.js';
import { acceptQuotients, answerQuotients, requestQuotients } from './divide.js';
import { acceptInverse, answerInverse, MatrixMask, requestInverse } from './invert-matrix.js';
import { acceptProducts, answerProducts, requestProducts } from './multiply.js';
import { acceptOpening, answerOpening, requestOpening } from './open.js';
import { inPairs, inParts } from '../../lists.js';
import { Masks } from './roles.js';
import { acceptDifferences, answerDifferences, requestDifferences } from './subtract.js';

const LONG = process.env['DUOVEIL_LONG_TESTS'] === '1';
const engine = testEngine();

interface Case {
  readonly family: GeneratorFamily;
  readonly bits: TestModulusBits;
  readonly runs: number;
}

const CASES: readonly Case[] = (['residue', 'bcp03'] as const).flatMap((family) => [
  { family, bits: 512, runs: LONG ? 200 : 15 },
  { family, bits: 1024, runs: LONG ? 20 : 1 },
  ...(LONG ? [{ family, bits: 2048, runs: 3 } as const] : []),
]);

/** A channel's greatest quantised value, at the most bits that a schema allows. */
const D_MAX = 2n ** 16n - 1n;

describe.each(CASES)('blinded operations, $family at $bits bits', ({ family, bits, runs }) => {
  const made = localParties(bits, family, engine, new SeededRandom(`ops/${family}/${bits}`));

  /** Messages, many of them extreme, in lists of 0, 1 and more. */
  const lists = (modulus: bigint, longest: number) =>
    fc.array(
      fc.oneof(
        fc.constantFrom(0n, 1n, modulus - 1n, D_MAX, modulus - D_MAX, modulus / 2n),
        fc.bigInt({ min: 0n, max: modulus - 1n }),
      ),
      { maxLength: longest },
    );

  const setting = async (seed: string) => {
    const parties = await made;
    const random = new SeededRandom(seed);
    return {
      ...parties,
      random,
      arithmetic: new LocalBlindedArithmetic(parties, parties, random),
      open: (list: readonly Ciphertext[]) => decrypt(parties.bcp, parties.keys.secretKey, list),
      N: parties.bcp.parameters.modulus,
    };
  };

  const check = async (
    longest: number,
    predicate: (messages: bigint[], seed: string) => Promise<void>,
  ) => {
    const { modulus } = (await made).bcp.parameters;
    await predicate([], 'none');
    await predicate([0n, 0n], 'zeros');
    await predicate([modulus - 1n, modulus - 1n], 'greatest');
    await fc.assert(fc.asyncProperty(lists(modulus, longest), fc.string(), predicate), {
      numRuns: runs,
    });
  };

  const pairsOf = (encrypted: readonly Ciphertext[]) =>
    inPairs(encrypted).map(([left, right]) => ({ left, right }));

  it('subtract', () =>
    check(8, async (messages, seed) => {
      const { key, random, arithmetic, open, bcp } = await setting(seed);
      const even = messages.slice(0, messages.length & ~1);
      const pairs = pairsOf(await key.encrypt(even, random));
      const result = await open(await arithmetic.subtract(pairs));
      expect(result).toEqual(inPairs(even).map(([x, y]) => bcp.reduce(x - y)));
    }));

  it('multiply', () =>
    check(8, async (messages, seed) => {
      const { key, random, arithmetic, open, bcp } = await setting(seed);
      const even = messages.slice(0, messages.length & ~1);
      const pairs = pairsOf(await key.encrypt(even, random));
      const result = await open(await arithmetic.multiply(pairs));
      expect(result).toEqual(inPairs(even).map(([x, y]) => bcp.reduce(x * y)));
    }));

  it('multiply a ciphertext by itself', async () => {
    const { key, random, arithmetic, open } = await setting('square');
    const [x] = await key.encrypt([D_MAX], random);
    if (x === undefined) throw new Error('nothing was encrypted');
    expect(await open(await arithmetic.multiply([{ left: x, right: x }]))).toEqual([D_MAX ** 2n]);
  });

  it('divide by a constant, exactly: times n it is the dividend again', () =>
    check(6, async (messages, seed) => {
      const { key, random, arithmetic, open, bcp, N } = await setting(seed);
      const encrypted = await key.encrypt(messages, random);
      for (const divisor of [1n, 2n, 30n, 4096n]) {
        const result = await open(await arithmetic.divide(encrypted, divisor));
        expect(result).toEqual(messages.map((m) => bcp.reduce(m * modInv(divisor, N))));
        expect(result.map((quotient) => bcp.reduce(quotient * divisor))).toEqual(messages);
      }
    }));

  it('open', () =>
    check(6, async (messages, seed) => {
      const { key, random, arithmetic } = await setting(seed);
      expect(await arithmetic.open(await key.encrypt(messages, random))).toEqual(messages);
    }));

  it('invert a matrix', () =>
    check(9, async (messages, seed) => {
      const { key, random, arithmetic, open, N } = await setting(seed);
      const size = Math.floor(Math.sqrt(messages.length));
      // Larger by the identity: mostly invertible, also for extreme entries.
      const matrix = inParts(messages.slice(0, size * size), size).map((row, i) =>
        row.map((entry, j) => (i === j ? (entry + 1n) % N : entry)),
      );
      const expected = invertMatrix(matrix, N);
      const encrypted = await Promise.all(matrix.map((row) => key.encrypt(row, random)));
      if (expected === undefined) {
        await expect(arithmetic.invert(encrypted)).rejects.toMatchObject({
          code: 'MESSAGE_INVALID',
          details: { field: 'entries' },
        });
        return;
      }
      const inverse = await Promise.all((await arithmetic.invert(encrypted)).map(open));
      expect(inverse).toEqual(expected.inverse);
      expect(multiplyMatrices(inverse, matrix, N)).toEqual(
        matrix.map((row, i) => row.map((_, j) => BigInt(i === j))),
      );
    }));

  it('take the results of others as operands', async () => {
    const { key, random, arithmetic, open, bcp, N } = await setting('chain');
    const [x, y] = await key.encrypt([D_MAX, 7n], random);
    if (x === undefined || y === undefined) throw new Error('nothing was encrypted');
    const [difference = x] = await arithmetic.subtract([{ left: y, right: x }]);
    const [product = x] = await arithmetic.multiply([{ left: difference, right: y }]);
    const quotient = await arithmetic.divide(await bcp.sums([[product, x]]), 3n);
    expect(await open(quotient)).toEqual([bcp.reduce(((7n - D_MAX) * 7n + D_MAX) * modInv(3n, N))]);
    expect(await arithmetic.open(quotient)).toEqual(await open(quotient));
  });
});

describe('masks', () => {
  const made = localParties(512, 'residue', engine, new SeededRandom('masks'));
  const random = new SeededRandom('masks');

  const operands = async ({ key }: LocalParties) => {
    const [left, right] = await key.encrypt([5n, 3n], random);
    if (left === undefined || right === undefined) throw new Error('nothing was encrypted');
    return { left, right };
  };

  it('are taken once', () => {
    const masks = new Masks([1n, 2n]);
    expect(masks.take()).toEqual([1n, 2n]);
    expect(() => masks.take()).toThrow('used before');
    const mask = new MatrixMask([[1n]]);
    expect(mask.take()).toEqual([[1n]]);
    expect(() => mask.take()).toThrow('used before');
    const none = new Masks([]);
    none.take();
    expect(() => none.take()).toThrow('used before');
  });

  it('are not in what prints', () => {
    for (const mask of [new Masks([123456789n]), new MatrixMask([[123456789n]])]) {
      expect(Object.keys(mask)).toEqual([]);
      expect(JSON.stringify(mask)).toBe('{}');
    }
  });

  it('unmask one answer: a second one, in every operation, is refused', async () => {
    const parties = await made;
    const pair = await operands(parties);

    const differences = await requestDifferences(parties, [pair], random);
    const difference = await answerDifferences(parties, differences.pairs, random);
    acceptDifferences(parties, differences.masks, difference);
    expect(() => acceptDifferences(parties, differences.masks, difference)).toThrow('used before');

    const products = await requestProducts(parties, [pair], random);
    const product = await answerProducts(parties, products.pairs, random);
    await acceptProducts(parties, [pair], products.masks, product);
    await expect(acceptProducts(parties, [pair], products.masks, product)).rejects.toThrow(
      'used before',
    );

    const quotients = await requestQuotients(parties, [pair.left], random);
    const quotient = await answerQuotients(parties, quotients.openings, 2n, random);
    acceptQuotients(parties, 2n, quotients.masks, quotient);
    expect(() => acceptQuotients(parties, 2n, quotients.masks, quotient)).toThrow('used before');

    const openings = await requestOpening(parties, [pair.left], random);
    const opened = await answerOpening(parties, openings.openings);
    expect(acceptOpening(parties, openings.masks, opened)).toEqual([5n]);
    expect(() => acceptOpening(parties, openings.masks, opened)).toThrow('used before');

    const inverses = await requestInverse(parties, [[pair.left]], random);
    const inverse = await answerInverse(parties, 1, inverses.entries, random);
    await acceptInverse(parties, inverses.mask, inverse);
    await expect(acceptInverse(parties, inverses.mask, inverse)).rejects.toThrow('used before');
  });

  it('of one call do not unmask the answer to another', async () => {
    const parties = await made;
    const pair = await operands(parties);
    const first = await requestOpening(parties, [pair.left], random);
    const second = await requestOpening(parties, [pair.left], random);
    const answer = await answerOpening(parties, first.openings);
    expect(acceptOpening(parties, second.masks, answer)).not.toEqual([5n]);
  });
});

describe('a request to invert', () => {
  it('is refused where its entries are too few, or singular', async () => {
    const parties = await localParties(512, 'residue', engine, new SeededRandom('few'));
    const random = new SeededRandom('few');
    const encrypted = await parties.key.encrypt([1n, 2n, 2n, 4n], random);
    const entries = await parties.key.rerandomiseForOpening(encrypted, random);
    for (const [dimension, list] of [
      [2, entries],
      [2, entries.slice(0, 3)],
      [3, entries],
      [1, []],
    ] as const) {
      await expect(answerInverse(parties, dimension, list, random)).rejects.toMatchObject({
        code: 'MESSAGE_INVALID',
        details: { field: 'entries' },
      });
    }
  });
});
