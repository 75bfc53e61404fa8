import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chiSquareQuantile } from './chi-square.js';

/** Computed with 40 digits (mpmath's gammainc, inverted): degrees, quantile, value. */
const EXACT: readonly (readonly [number, number, number])[] = [
  [1, 0.005, 3.92704222205159e-5],
  [1, 0.5, 0.4549364231195728],
  [1, 0.95, 3.8414588206941245],
  [1, 0.975, 5.023886187314887],
  [1, 0.99, 6.634896601021214],
  [1, 0.999, 10.827566170662731],
  [1, 0.999999, 23.92812697687947],
  [2, 0.005, 0.010025083647088564],
  [2, 0.5, 1.3862943611198906],
  [2, 0.95, 5.99146454710798],
  [2, 0.975, 7.377758908227871],
  [2, 0.99, 9.210340371976182],
  [2, 0.999, 13.815510557964272],
  [2, 0.999999, 27.631021115871036],
  [3, 0.005, 0.07172177458649198],
  [3, 0.5, 2.365973884375338],
  [3, 0.95, 7.814727903251178],
  [3, 0.975, 9.348403604496147],
  [3, 0.99, 11.34486673014437],
  [3, 0.999, 16.26623619623813],
  [3, 0.999999, 30.664849706154268],
  [4, 0.005, 0.20698909349618208],
  [4, 0.5, 3.356693980033321],
  [4, 0.95, 9.487729036781154],
  [4, 0.975, 11.143286781877794],
  [4, 0.99, 13.276704135987622],
  [4, 0.999, 18.46682695290317],
  [4, 0.999999, 33.37684158165888],
  [5, 0.005, 0.41174190383249887],
  [5, 0.5, 4.351460191095527],
  [5, 0.95, 11.070497693516351],
  [5, 0.975, 12.832501994030025],
  [5, 0.99, 15.086272469388987],
  [5, 0.999, 20.515005652432876],
  [5, 0.999999, 35.88818687961042],
  [6, 0.005, 0.6757267774554666],
  [6, 0.5, 5.348120627447121],
  [6, 0.95, 12.591587243743977],
  [6, 0.975, 14.44937533544792],
  [6, 0.99, 16.811893829770927],
  [6, 0.999, 22.457744484825323],
  [6, 0.999999, 38.258336377145845],
  [7, 0.005, 0.9892556831329503],
  [7, 0.5, 6.3458111955215175],
  [7, 0.95, 14.067140449340167],
  [7, 0.975, 16.012764274629323],
  [7, 0.99, 18.47530690658236],
  [7, 0.999, 24.321886347856854],
  [7, 0.999999, 40.52183123411472],
  [8, 0.005, 1.3444130870148103],
  [8, 0.5, 7.344121497701792],
  [8, 0.95, 15.50731305586545],
  [8, 0.975, 17.53454613948465],
  [8, 0.99, 20.09023502966323],
  [8, 0.999, 26.12448155837614],
  [8, 0.999999, 42.70091392647789],
  [30, 0.005, 13.786719859502714],
  [30, 0.5, 29.336031516661585],
  [30, 0.95, 43.77297182574218],
  [30, 0.975, 46.97924224367115],
  [30, 0.99, 50.892181311517085],
  [30, 0.999, 59.70306430442993],
  [30, 0.999999, 82.044143136957],
  [100, 0.005, 67.32756330547917],
  [100, 0.5, 99.33412923598846],
  [100, 0.95, 124.34211340400408],
  [100, 0.975, 129.5611971858366],
  [100, 0.99, 135.80672317102676],
  [100, 0.999, 149.44925277903872],
  [100, 0.999999, 182.12677711942615],
];

/** NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.4: three decimals. */
const PUBLISHED: readonly (readonly [number, number, number])[] = [
  [1, 0.95, 3.841],
  [2, 0.975, 7.378],
  [3, 0.99, 11.345],
  [4, 0.95, 9.488],
  [4, 0.975, 11.143],
  [4, 0.99, 13.277],
  [8, 0.975, 17.535],
  [10, 0.95, 18.307],
  [30, 0.95, 43.773],
  [100, 0.95, 124.342],
];

describe('chiSquareQuantile', () => {
  it.each(EXACT)('with %d degrees of freedom at %d', (k, quantile, value) => {
    expect(Math.abs(chiSquareQuantile(quantile, k) / value - 1)).toBeLessThan(1e-12);
  });

  it.each(PUBLISHED)('agrees with the published table: %d degrees, %d', (k, quantile, value) => {
    expect(Number(chiSquareQuantile(quantile, k).toFixed(3))).toBe(value);
  });

  it('is -2 log(1 - quantile) for two degrees of freedom', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-12, max: 1 - 1e-12, noNaN: true }), (quantile) => {
        const closed = -2 * Math.log1p(-quantile);
        expect(Math.abs(chiSquareQuantile(quantile, 2) / closed - 1)).toBeLessThan(1e-12);
      }),
    );
  });

  it('grows with the quantile and with the degrees of freedom', () => {
    const quantile = fc.double({ min: 1e-9, max: 1 - 1e-9, noNaN: true });
    fc.assert(
      fc.property(quantile, quantile, fc.integer({ min: 1, max: 200 }), (p, q, k) => {
        const [low, high] = [Math.min(p, q), Math.max(p, q)];
        const tolerance = 1 + 1e-12;
        expect(chiSquareQuantile(low, k)).toBeLessThanOrEqual(
          chiSquareQuantile(high, k) * tolerance,
        );
        expect(chiSquareQuantile(p, k)).toBeLessThan(chiSquareQuantile(p, k + 1));
      }),
    );
  });

  it('ends at the extremes', () => {
    expect(chiSquareQuantile(Number.MIN_VALUE, 1)).toBeGreaterThanOrEqual(0);
    expect(chiSquareQuantile(1e-300, 8)).toBeGreaterThan(0);
    expect(chiSquareQuantile(1 - 2 ** -53, 1000)).toBeLessThan(1500);
    expect(chiSquareQuantile(0.5, 1000)).toBeCloseTo(999.3334, 3);
  });

  it.each([0, 1, -0.1, 1.5, NaN])('refuses the quantile %d', (quantile) => {
    expect(() => chiSquareQuantile(quantile, 4)).toThrow(/strictly between 0 and 1/);
  });

  it.each([0, -1, 2.5, 1001, NaN])('refuses %d degrees of freedom', (k) => {
    expect(() => chiSquareQuantile(0.5, k)).toThrow(/degrees of freedom/);
  });
});
