import { expect, it } from 'vitest';
import { seededPrng, xoshiro128 } from './prng.js';

it("xoshiro128** gives the outputs of the authors' code", () => {
  const next = xoshiro128([1, 2, 3, 4]);
  // State {1, 2, 3, 4}: the vector that implementations share.
  expect(Array.from({ length: 10 }, next)).toEqual([
    11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597,
    4258142804,
  ]);
});

it('has the moments it should', () => {
  const prng = seededPrng(1);
  const many = Array.from({ length: 20_000 }, () => prng.bell());
  const mean = many.reduce((sum, x) => sum + x, 0) / many.length;
  const variance = many.reduce((sum, x) => sum + x * x, 0) / many.length;
  expect(Math.abs(mean)).toBeLessThan(0.03);
  expect(Math.abs(variance - 1)).toBeLessThan(0.05);
});

it('draws integers with both ends', () => {
  const prng = seededPrng(2);
  const seen = new Set(Array.from({ length: 1000 }, () => prng.integer(-2, 3)));
  expect([...seen].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2, 3]);
});

it('differs between seeds and between streams', () => {
  const first = (seed: number, stream?: number) => seededPrng(seed, stream).uniform();
  const firsts = [first(0), first(1), first(2), first(0, 1), first(0xffff_ffff), first(1, 1)];
  expect(new Set(firsts).size).toBe(firsts.length);
});
