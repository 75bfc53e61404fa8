import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { RecordingRandom, SeededRandom } from '../../../harness/src/local/randomness.js';
import { PUBLIC_TEST_PRIMES } from '../../../harness/src/local/test-primes.js';
import { invertMatrix, multiplyMatrices, uniformInvertible, type Matrix } from './matrix.js';

const RUNS = process.env['DUOVEIL_LONG_TESTS'] === '1' ? 2000 : 60;
const [p, q] = PUBLIC_TEST_PRIMES[512];
const MODULI: Readonly<Record<string, bigint>> = {
  'a prime': 2n ** 255n - 19n,
  'the modulus N': p * q,
  'a small prime': 7n,
};

const identity = (size: number): bigint[][] =>
  Array.from({ length: size }, (_, i) =>
    Array.from({ length: size }, (_, j) => BigInt(+(i === j))),
  );

/** By Laplace's expansion: slow, and nothing like elimination. */
function determinant(matrix: Matrix, m: bigint): bigint {
  const [first, ...rest] = matrix;
  if (first === undefined) return 1n;
  const sum = first.reduce((total, entry, j) => {
    const minor = determinant(
      rest.map((row) => row.filter((_, column) => column !== j)),
      m,
    );
    return total + (j % 2 === 0 ? entry : -entry) * minor;
  }, 0n);
  return ((sum % m) + m) % m;
}

describe.each(Object.entries(MODULI))('matrices modulo %s', (_, m) => {
  const entries = fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom(0n, 1n, m - 1n) },
    { weight: 2, arbitrary: fc.bigInt({ min: 0n, max: m - 1n }) },
  );
  const square = (size: number) =>
    fc.array(fc.array(entries, { minLength: size, maxLength: size }), {
      minLength: size,
      maxLength: size,
    });
  const matrices = fc.integer({ min: 1, max: 5 }).chain(square);
  const check = (predicate: (matrix: bigint[][]) => void) => {
    fc.assert(fc.property(matrices, predicate), { numRuns: RUNS });
  };

  it('invert on both sides, entries in [0, m)', () => {
    check((matrix) => {
      const inverted = invertMatrix(matrix, m);
      fc.pre(inverted !== undefined);
      expect(multiplyMatrices(inverted.inverse, matrix, m)).toEqual(identity(matrix.length));
      expect(multiplyMatrices(matrix, inverted.inverse, m)).toEqual(identity(matrix.length));
      expect(inverted.inverse.flat().every((entry) => entry >= 0n && entry < m)).toBe(true);
    });
  });

  it('have the determinant of Laplace, and no inverse exactly where it is no unit', () => {
    check((matrix) => {
      const expected = determinant(matrix, m);
      const inverted = invertMatrix(matrix, m);
      if (expected === 0n) expect(inverted).toBeUndefined();
      else expect(inverted?.determinant).toBe(expected);
    });
  });

  it('invert to the original when inverted twice, determinants being reciprocal', () => {
    check((matrix) => {
      const once = invertMatrix(matrix, m);
      fc.pre(once !== undefined);
      const twice = invertMatrix(once.inverse, m);
      expect(twice?.inverse).toEqual(matrix);
      expect((once.determinant * (twice?.determinant ?? 0n)) % m).toBe(1n % m);
    });
  });

  it('multiply associatively, and determinants with them', () => {
    const triples = fc
      .integer({ min: 1, max: 4 })
      .chain((size) => fc.tuple(square(size), square(size), square(size)));
    fc.assert(
      fc.property(triples, ([x, y, z]) => {
        const xy = multiplyMatrices(x, y, m);
        expect(multiplyMatrices(xy, z, m)).toEqual(
          multiplyMatrices(x, multiplyMatrices(y, z, m), m),
        );
        expect(determinant(xy, m)).toBe((determinant(x, m) * determinant(y, m)) % m);
      }),
      { numRuns: RUNS },
    );
  });

  it('are not inverted where singular: zero, equal rows, a row that is a sum', () => {
    expect(invertMatrix([[0n]], m)).toBeUndefined();
    expect(
      invertMatrix(
        [
          [1n, 2n],
          [1n, 2n],
        ],
        m,
      ),
    ).toBeUndefined();
    const sum = [
      [1n, 2n, 3n],
      [4n, 5n, 6n],
      [5n, 7n % m, 9n % m],
    ];
    expect(invertMatrix(sum, m)).toBeUndefined();
  });

  it('are inverted where a pivot is 0 and rows must be swapped, the sign kept', () => {
    const swap = [
      [0n, 1n],
      [1n, 0n],
    ];
    expect(invertMatrix(swap, m)).toEqual({ inverse: swap, determinant: m - 1n });
    const cycle = [
      [0n, 1n, 0n],
      [0n, 0n, 1n],
      [1n, 0n, 0n],
    ];
    expect(invertMatrix(cycle, m)?.determinant).toBe(1n);
  });

  it('of size 0 invert to themselves', () => {
    expect(invertMatrix([], m)).toEqual({ inverse: [], determinant: 1n });
  });

  it('are not changed by being inverted', () => {
    const matrix = [
      [2n, 1n],
      [1n, 1n],
    ];
    const copy = structuredClone(matrix);
    invertMatrix(matrix, m);
    expect(matrix).toEqual(copy);
  });
});

describe('modulo N', () => {
  const N = p * q;

  it('a pivot that shares a factor with N is passed over', () => {
    const matrix = [
      [p, 1n],
      [1n, 0n],
    ];
    expect(invertMatrix(matrix, N)?.determinant).toBe(N - 1n);
  });

  it('a matrix whose determinant shares a factor with N has no inverse', () => {
    expect(invertMatrix([[p]], N)).toBeUndefined();
    expect(
      invertMatrix(
        [
          [1n, 2n],
          [3n, 6n + q],
        ],
        N,
      ),
    ).toBeUndefined();
  });
});

describe('uniformInvertible', () => {
  it('gives a matrix with its inverse and determinant, every entry drawn below m', () => {
    const m = 2n ** 255n - 19n;
    for (const size of [1, 2, 3, 5]) {
      const random = new RecordingRandom(new SeededRandom(`invertible/${size}`));
      const { matrix, inverse, determinant: det } = uniformInvertible(size, m, random);
      expect(multiplyMatrices(matrix, inverse, m)).toEqual(identity(size));
      expect(determinant(matrix, m)).toBe(det);
      expect(new Set(matrix.flat()).size).toBe(size * size);
    }
  });

  it('draws the whole matrix again where it is singular', () => {
    // Modulo 2, bits in the order drawn: a singular matrix, then the identity.
    const bits = [1, 1, 1, 1, 1, 0, 0, 1];
    const drawn = uniformInvertible(2, 2n, {
      bytes: () => Uint8Array.of((bits.shift() ?? 0) << 7),
    });
    expect(drawn.matrix).toEqual(identity(2));
    expect(bits).toEqual([]);
  });

  it('reaches each element of a small group equally often', () => {
    // |GL_2(F_3)| = 48; 9600 draws, 200 expected each, standard deviation 14.
    const random = new SeededRandom('GL2(F3)');
    const counts = new Map<string, number>();
    for (let i = 0; i < 9600; i++) {
      const key = uniformInvertible(2, 3n, random).matrix.flat().join('');
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(48);
    const statistic = [...counts.values()].reduce((sum, n) => sum + (n - 200) ** 2 / 200, 0);
    expect(statistic).toBeLessThan(133); // chi-square, 47 degrees of freedom: 1e-9
    // Rejecting single entries instead (here: zeros on the diagonal) would miss much of the group.
    const missed = [...counts.keys()].filter((key) => key.startsWith('0') || key.endsWith('0'));
    expect(missed.length).toBeGreaterThan(0);
  });
});
