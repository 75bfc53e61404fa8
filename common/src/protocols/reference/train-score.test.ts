import { modInv } from 'bigint-crypto-utils';
import { describe, expect, it } from 'vitest';

import { testEngine } from '../../../../harness/src/local/engine.js';
import { LocalBlindedArithmetic } from '../../../../harness/src/local/arithmetic.js';
import { localParties } from '../../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../../harness/src/local/randomness.js';
import type { TestModulusBits } from '../../../../harness/src/local/test-primes.js';
import { exactMd2 } from '../../../../harness/src/oracle/model.js';
import { decrypt } from '../../bcp/keys.js';
import type { GeneratorFamily } from '../../bcp/parameters.js';
import { reconstruct } from '../../encoding/rational.js';
import { multiplyMatrices } from '../../field/matrix.js';
import { uniformBelow } from '../../random.js';
import { score } from './score.js';
import { train } from './train.js';

const LONG = process.env['DUOVEIL_LONG_TESTS'] === '1';
const engine = testEngine();

/** What a channel does over the window. */
type Shape = 'random' | 'constant' | 'extremes' | 'zero';

interface Case {
  readonly bits: TestModulusBits;
  readonly family: GeneratorFamily;
  readonly channels: number;
  readonly window: number;
  /** One a channel, repeated as needed. */
  readonly shapes: readonly Shape[];
  /** `2^b - 1`, the greatest value of a channel. */
  readonly D: bigint;
}

const usual = { bits: 512, family: 'residue', shapes: ['random'], D: 1023n } as const;
const CASES: readonly Case[] = [
  // p channels, the smallest window there is
  ...[1, 2, 3, 5].map((channels) => ({ ...usual, channels, window: channels + 2 })),
  { ...usual, channels: 8, window: 10, D: 255n },
  // larger windows
  { ...usual, channels: 1, window: 30 },
  { ...usual, channels: 2, window: 16 },
  { ...usual, channels: 3, window: 9, D: 2n ** 16n - 1n },
  // channels that do not move, or only between their ends
  { ...usual, channels: 3, window: 6, shapes: ['random', 'constant', 'extremes'] },
  { ...usual, channels: 4, window: 6, shapes: ['constant'] },
  { ...usual, channels: 3, window: 5, shapes: ['zero'] },
  { ...usual, channels: 2, window: 5, shapes: ['extremes'], D: 2n ** 16n - 1n },
  // the other family, and larger moduli
  ...[1, 2, 3].map((channels) => ({
    ...usual,
    family: 'bcp03' as const,
    channels,
    window: channels + 2,
  })),
  { ...usual, bits: 1024, channels: 2, window: 4 },
  { ...usual, bits: 1024, family: 'bcp03', channels: 1, window: 4 },
  { ...usual, bits: 2048, channels: 1, window: 3 },
  ...(LONG
    ? ([
        { ...usual, channels: 8, window: 30, D: 255n },
        { ...usual, bits: 1024, channels: 5, window: 12 },
        { ...usual, bits: 2048, channels: 4, window: 6, D: 2n ** 16n - 1n },
        { ...usual, bits: 2048, family: 'bcp03', channels: 2, window: 4 },
        { ...usual, bits: 3072, channels: 1, window: 3 },
      ] as const)
    : []),
];

describe.each(CASES)(
  '$channels channels, a window of $window, $shapes, $family at $bits bits',
  ({ bits, family, channels, window: size, shapes, D }) => {
    const made = (async () => {
      const random = new SeededRandom(JSON.stringify([bits, family, channels, size, shapes]));
      const parties = await localParties(bits, family, engine, random);
      const value = (shape: Shape, i: number): bigint =>
        shape === 'random'
          ? uniformBelow(D + 1n, random)
          : shape === 'extremes'
            ? i % 2 === 0
              ? 0n
              : D
            : shape === 'constant'
              ? D / 3n
              : 0n;
      const window = Array.from({ length: size }, (_, i) =>
        Array.from({ length: channels }, (__, j) =>
          value(shapes[j % shapes.length] ?? 'random', i),
        ),
      );
      const floors = Array.from({ length: channels }, (_, j) => BigInt(j % 2 === 0 ? 1 : 9));
      const samples = [
        Array<bigint>(channels).fill(0n),
        Array<bigint>(channels).fill(D),
        Array.from({ length: channels }, () => uniformBelow(D + 1n, random)),
        window[0] ?? [],
      ].slice(0, bits === 512 ? (channels > 2 ? 2 : 4) : 1);
      const arithmetic = new LocalBlindedArithmetic(parties, parties, random);
      const encrypted = [];
      for (const sample of window) encrypted.push(await parties.key.encrypt(sample, random));
      const model = await train(arithmetic, parties.bcp, encrypted, floors);
      return { ...parties, random, window, floors, samples, arithmetic, model };
    })();

    it('trains to the exact mean and to the inverse of the exact covariance', async () => {
      const { bcp, keys, window, floors, model } = await made;
      const { modulus: N } = bcp.parameters;
      const n = BigInt(size);
      const totals = floors.map((_, j) => window.reduce((sum, x) => sum + (x[j] ?? 0n), 0n));
      expect(await decrypt(bcp, keys.secretKey, model.mean)).toEqual(
        totals.map((total) => bcp.reduce(total * modInv(n, N))),
      );

      // n²(n-1)·S⁺ over the integers, entry by entry from its definition.
      const scale = n * n * (n - 1n);
      const scaled = floors.map((floor, j) =>
        floors.map((_, k) => {
          const scatter = window.reduce(
            (sum, x) =>
              sum + (n * (x[j] ?? 0n) - (totals[j] ?? 0n)) * (n * (x[k] ?? 0n) - (totals[k] ?? 0n)),
            j === k ? floor * scale : 0n,
          );
          return bcp.reduce(scatter);
        }),
      );
      const precision = [];
      for (const row of model.precision) {
        precision.push(await decrypt(bcp, keys.secretKey, row));
      }
      expect(multiplyMatrices(scaled, precision, N)).toEqual(
        floors.map((_, j) => floors.map((__, k) => (j === k ? bcp.reduce(scale) : 0n))),
      );
    });

    it('scores to the residue of the exact distance, from which it is reconstructed', async () => {
      const { bcp, arithmetic, window, floors, samples, key, random, model } = await made;
      const { modulus: N } = bcp.parameters;
      for (const sample of samples) {
        const residue = await score(arithmetic, bcp, model, await key.encrypt(sample, random));
        const exact = exactMd2(window, sample, floors);
        expect(residue).toBe(bcp.reduce(exact.numerator * modInv(exact.denominator, N)));
        const [A, B] = [exact.numerator + 1n, exact.denominator + 1n];
        expect(N > 2n * A * B).toBe(true);
        expect(reconstruct(residue, N, A, B)).toEqual(exact);
      }
    });
  },
);

describe('training and scoring', () => {
  it('refuse a sample or a window that lacks a channel', async () => {
    const random = new SeededRandom('lacking');
    const parties = await localParties(512, 'residue', engine, random);
    const arithmetic = new LocalBlindedArithmetic(parties, parties, random);
    const window = [];
    for (const sample of [[1n, 2n], [3n, 4n], [5n, 7n], [2n]]) {
      window.push(await parties.key.encrypt(sample, random));
    }
    await expect(train(arithmetic, parties.bcp, window, [1n, 1n])).rejects.toThrow(RangeError);
    const model = await train(arithmetic, parties.bcp, window.slice(0, 3), [1n, 1n]);
    await expect(score(arithmetic, parties.bcp, model, window[3] ?? [])).rejects.toThrow(
      RangeError,
    );
  });
});
