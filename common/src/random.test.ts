import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { QueuedRandom, SeededRandom } from '../../harness/src/local/randomness.js';
import { bitLength } from './integers.js';
import {
  bytesFromInteger,
  integerFromBytes,
  systemRandom,
  uniformBelow,
  uniformBetween,
  uniformBits,
} from './random.js';

const queue = (...draws: readonly (readonly number[])[]) =>
  new QueuedRandom(draws.map((draw) => Uint8Array.from(draw)));

describe('integers and bytes', () => {
  it('come back from any width that holds them', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 1n << 600n }), fc.nat(40), (value, surplus) => {
        const width = Math.max(1, Math.ceil(bitLength(value) / 8)) + surplus;
        const bytes = bytesFromInteger(value, width);
        expect(bytes).toHaveLength(width);
        expect(integerFromBytes(bytes)).toBe(value);
      }),
    );
  });

  it('are big-endian and padded on the left', () => {
    expect([...bytesFromInteger(0x0102n, 4)]).toEqual([0, 0, 1, 2]);
    expect([...bytesFromInteger(0n, 2)]).toEqual([0, 0]);
    expect(integerFromBytes(Uint8Array.of(1, 0))).toBe(256n);
    expect(integerFromBytes(new Uint8Array())).toBe(0n);
  });

  it('are read from a view of a larger buffer, not from the whole of it', () => {
    expect(integerFromBytes(Uint8Array.of(9, 1, 2, 9).subarray(1, 3))).toBe(0x0102n);
  });

  it('are refused where they do not fit, or are negative', () => {
    expect(() => bytesFromInteger(256n, 1)).toThrow(RangeError);
    expect(() => bytesFromInteger(1n << 64n, 8)).toThrow(RangeError);
    expect(() => bytesFromInteger(-1n, 8)).toThrow(RangeError);
    expect(() => bytesFromInteger(1n, 0)).toThrow(RangeError);
    expect(bytesFromInteger(255n, 1)).toHaveLength(1);
  });

  it('do not show in the error', () => {
    expect(() => bytesFromInteger(123456789n, 2)).toThrow(/^integer does not fit 2 bytes$/);
  });
});

describe('uniformBits', () => {
  it('keeps the high bits of just as many bytes as it needs', () => {
    expect(uniformBits(12, queue([0xab, 0xcd]))).toBe(0xabcn);
    expect(uniformBits(8, queue([0xff]))).toBe(0xffn);
    expect(uniformBits(1, queue([0x80]))).toBe(1n);
    expect(uniformBits(1, queue([0x7f]))).toBe(0n);
    expect(uniformBits(0, queue([]))).toBe(0n);
  });
});

describe('uniformBelow', () => {
  it('draws nothing where there is one value only', () => {
    expect(uniformBelow(1n, queue())).toBe(0n);
  });

  it('refuses an empty range', () => {
    expect(() => uniformBelow(0n, queue())).toThrow(RangeError);
    expect(() => uniformBelow(-1n, queue())).toThrow(RangeError);
  });

  it('rejects a candidate that is not below the bound, and draws another', () => {
    // bound 5: three bits, 0..4 accepted, 5..7 rejected
    expect(uniformBelow(5n, queue([0b101_00000], [0b111_00000], [0b100_00000]))).toBe(4n);
    // A reduction modulo the bound, which is biased, would take the first.
    expect(() => uniformBelow(5n, queue([0b101_00000]))).toThrow('ran dry');
  });

  it('never rejects below a power of two', () => {
    expect(uniformBelow(256n, queue([0xff]))).toBe(255n);
    expect(uniformBelow(1n << 64n, queue(Array<number>(8).fill(0xff)))).toBe((1n << 64n) - 1n);
  });

  it('needs one more bit just above a power of two', () => {
    expect(uniformBelow(257n, queue([0xff, 0xff], [0x80, 0x00]))).toBe(256n);
  });

  it('gives each value exactly as often as any other over all accepted draws', () => {
    const counts = new Map<bigint, number>();
    for (let byte = 0; byte < 256; byte++) {
      const random = queue([byte], [0]);
      const value = uniformBelow(6n, random);
      if (random.remaining === 0) continue; // rejected: the second draw was taken
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual([0n, 1n, 2n, 3n, 4n, 5n]);
    expect(new Set(counts.values())).toEqual(new Set([32]));
  });

  it('stays in range', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: 1n << 200n }), fc.string(), (bound, seed) => {
        const value = uniformBelow(bound, new SeededRandom(seed));
        expect(value >= 0n && value < bound).toBe(true);
      }),
    );
  });
});

describe('uniformBetween', () => {
  it('reaches both ends', () => {
    expect(uniformBetween(10n, 13n, queue([0b00_000000]))).toBe(10n);
    expect(uniformBetween(10n, 13n, queue([0b11_000000]))).toBe(13n);
    expect(uniformBetween(-3n, -3n, queue())).toBe(-3n);
  });

  it('refuses an empty range', () => {
    expect(() => uniformBetween(2n, 1n, queue())).toThrow(RangeError);
  });
});

describe('systemRandom', () => {
  it('gives the asked length, other bytes every time', () => {
    expect(systemRandom.bytes(0)).toHaveLength(0);
    const [first, second] = [systemRandom.bytes(32), systemRandom.bytes(32)];
    expect(first).toHaveLength(32);
    expect(first).not.toEqual(second);
  });
});
