import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isDuoveilError } from '../errors.js';
import {
  determinantBound,
  distanceBounds,
  numeratorBound,
  referenceModulusBound,
  requireReferenceFits,
  sufficientModulusBits,
} from './bounds.js';
import { scaleOf } from './scale.js';
import { parseSchema, selectChannels } from './schema.js';

const two = selectChannels(['RESP', 'SpO2']);
const four = selectChannels(['HR', 'PULSE', 'RESP', 'SpO2']);
const wide = parseSchema(
  {
    channels: Array.from({ length: 8 }, (_, i) => ({
      name: `C${i}`,
      min: 0,
      max: 2 ** 24 - 1,
      resolution: 1,
      noiseFloor: 2 ** 24 - 1,
    })),
  },
  'test',
);

/** Determinant by expansion: slow, and independent of everything else. */
function determinant(matrix: bigint[][]): bigint {
  const [first, ...rest] = matrix;
  if (first === undefined) return 1n;
  return first.reduce((sum, entry, j) => {
    const minor = rest.map((row) => row.filter((_, column) => column !== j));
    return sum + (j % 2 === 0 ? 1n : -1n) * entry * determinant(minor);
  }, 0n);
}

/** `det Q` of a window, as the design defines it. */
function gramDeterminant(samples: bigint[][], n: bigint, floors: bigint[]): bigint {
  const z = samples.map((x) => [1n, ...x]);
  const size = floors.length + 1;
  const gram = Array.from({ length: size }, (_, i) =>
    Array.from({ length: size }, (_, j) => {
      const sum = z.reduce((total, row) => total + (row[i] ?? 0n) * (row[j] ?? 0n), 0n);
      return i === j && i > 0 ? sum + (n - 1n) * (floors[i - 1] ?? 0n) : sum;
    }),
  );
  return determinant(gram);
}

describe('the bounds', () => {
  it('are the formulas of the design', () => {
    // n = 4, D = 1200 and 700, F = 400.
    expect(determinantBound(two, 4)).toBe(4n * (1_440_000n + 1200n) * (490_000n + 1200n));
    expect(numeratorBound(two, 4)).toBe(5n * (1_800_000n + 1200n) * (612_500n + 1200n));
    expect(distanceBounds(two, 4)).toEqual({
      numerator: 12n * numeratorBound(two, 4),
      denominator: 4n * determinantBound(two, 4),
    });
    expect(referenceModulusBound(two, 4)).toBe(
      2n * 16n * 3n * numeratorBound(two, 4) * determinantBound(two, 4),
    );
  });

  it('are reached within a small factor by the most spread samples', () => {
    const floors = two.channels.map((c) => scaleOf(c).F);
    const corners = [
      [0n, 0n],
      [1200n, 0n],
      [0n, 700n],
      [1200n, 700n],
    ];
    expect(gramDeterminant(corners, 4n, floors)).toBe(determinantBound(two, 4));
  });

  it('hold for any window and sample', () => {
    const D = two.channels.map((c) => scaleOf(c).D);
    const floors = two.channels.map((c) => scaleOf(c).F);
    const extreme = (max: bigint) => fc.oneof(fc.constantFrom(0n, max), fc.bigInt(0n, max));
    const sample = fc.tuple(extreme(D[0] ?? 0n), extreme(D[1] ?? 0n)).map((x) => [...x]);
    fc.assert(
      fc.property(fc.array(sample, { minLength: 4, maxLength: 12 }), sample, (window, x) => {
        const n = window.length;
        const det = gramDeterminant(window, BigInt(n), floors);
        const num = gramDeterminant([...window, x], BigInt(n), floors) - det;
        expect(det > 0n && det <= determinantBound(two, n)).toBe(true);
        expect(num > 0n && num <= numeratorBound(two, n)).toBe(true);
      }),
    );
  });
});

describe('requireReferenceFits', () => {
  it('accepts every schema and window with 2048 bits', () => {
    expect(sufficientModulusBits(wide, 4096)).toBeLessThan(2048);
    requireReferenceFits(wide, 4096, 2048);
    requireReferenceFits(four, 60, 2048);
  });

  it('asks for the least bits that hold for any modulus of that length', () => {
    const bits = sufficientModulusBits(four, 60);
    expect(2n ** BigInt(bits - 1) > referenceModulusBound(four, 60)).toBe(true);
    expect(2n ** BigInt(bits - 2) > referenceModulusBound(four, 60)).toBe(false);
    requireReferenceFits(four, 60, bits);
  });

  it('says which modulus, window or number of channels would fit', () => {
    const sufficientBits = sufficientModulusBits(four, 60);
    const modulusBits = sufficientModulusBits(four, 33);
    let caught: unknown;
    try {
      requireReferenceFits(four, 60, modulusBits);
    } catch (error) {
      caught = error;
    }
    if (!isDuoveilError(caught, 'BOUNDS_EXCEEDED')) throw new Error('not refused');
    expect(caught.details.sufficientBits).toBe(sufficientBits);
    const window = Number(/a window of at most (\d+)/.exec(caught.message)?.[1]);
    expect(caught.message).toBe(
      `4 channels with a window of 60 do not fit a modulus of ${modulusBits} bits; what would fit: ` +
        `a modulus of at least ${sufficientBits} bits, or a window of at most ${window}, ` +
        'or only the first 3 of the channels',
    );
    requireReferenceFits(four, window, modulusBits);
    expect(() => {
      requireReferenceFits(four, window + 1, modulusBits);
    }).toThrow();
    requireReferenceFits(selectChannels(['HR', 'PULSE', 'RESP']), 60, modulusBits);
  });

  it('proposes only what there is', () => {
    expect(() => {
      requireReferenceFits(four, 60, 16);
    }).toThrow(/what would fit: a modulus of at least \d+ bits$/);
  });
});
