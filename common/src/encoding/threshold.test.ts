import { describe, expect, it } from 'vitest';
import { parseThreshold, scaledThreshold } from './threshold.js';

describe('scaledThreshold', () => {
  it.each([
    [0.975, 1, 329_245n],
    [0.975, 2, 483_509n],
    [0.975, 4, 730_286n],
    [0.99, 4, 870_102n],
    [0.975, 8, 1_149_144n],
  ])('is the quantile %d with %d degrees of freedom times 2^16, rounded', (p, k, scaled) => {
    expect(scaledThreshold(p, k)).toBe(scaled);
  });

  it('refuses what rounds to nothing', () => {
    expect(() => scaledThreshold(1e-9, 1)).toThrow(/threshold must lie between/);
  });
});

describe('parseThreshold', () => {
  it('rounds to the nearest multiple of 2^-16', () => {
    expect(parseThreshold('1')).toBe(65_536n);
    expect(parseThreshold(11.1432867)).toBe(730_286n);
    expect(parseThreshold('0.00000762939453125')).toBe(1n); // 2^-17, a tie
    expect(parseThreshold('16777216')).toBe(2n ** 40n);
  });

  it.each(['0', '-3', 'high', '', NaN, Infinity, '0.0000076', '16777217'])(
    'refuses %j',
    (threshold) => {
      expect(() => parseThreshold(threshold)).toThrow(
        expect.objectContaining({ code: 'SCHEMA_INVALID', details: { field: 'threshold' } }),
      );
    },
  );
});
