import { checkPrimeSync } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { FIELDS, smallestField } from './primes.js';

describe('the fields', () => {
  it.each(FIELDS)('of $bits bits is of prime order, and has that many bits', ({ order, bits }) => {
    expect(checkPrimeSync(order, { checks: 64 })).toBe(true);
    expect(order >> BigInt(bits - 1)).toBe(1n);
    // The same check finds out a neighbour.
    expect(checkPrimeSync(order - 2n, { checks: 64 }) && checkPrimeSync(order + 2n)).toBe(false);
  });

  it('are listed by size, each once', () => {
    const orders = FIELDS.map(({ order }) => order);
    expect(orders).toEqual([...new Set(orders)].sort((a, b) => (a < b ? -1 : 1)));
  });

  it('are chosen as small as can be: above the bound, never equal to it', () => {
    FIELDS.forEach((field, i) => {
      expect(smallestField(field.order - 1n)).toBe(field);
      expect(smallestField(FIELDS[i - 1]?.order ?? 0n)).toBe(field);
    });
  });

  it('do not reach without end', () => {
    const largest = FIELDS.at(-1)?.order ?? 0n;
    expect(() => smallestField(largest)).toThrow(RangeError);
  });
});
