/** What one operation takes on one thread: the median of many, one at a time. */
import type { ModularEngine } from '@duoveil/common/modular';
import { uniformBelow, uniformBits, type RandomSource } from '@duoveil/common/random';

import { median } from './median.js';
import type { Operation } from './operations.js';

/** How long an operation is repeated, and how often at least and at most. */
export interface Patience {
  readonly milliseconds: number;
  readonly least: number;
  readonly most: number;
}

const PATIENCE: Patience = { milliseconds: 300, least: 5, most: 500 };

/**
 * @param engine one that has no threads of its own to spread a single operation over: any native one,
 *   and the portable one made with `threads: 0`
 * @returns milliseconds
 */
export async function timeOf(
  operation: Operation,
  engine: ModularEngine,
  random: RandomSource,
  patience: Patience = PATIENCE,
): Promise<number> {
  const run = preparedFor(operation, engine, random);
  await run();
  const times: number[] = [];
  const until = performance.now() + patience.milliseconds;
  while (
    times.length < patience.least ||
    (times.length < patience.most && performance.now() < until)
  ) {
    times.push(await run());
  }
  return median(times);
}

/** Runs the operation once, on fresh operands, and says how long that took. */
function preparedFor(
  { kind, modulus, exponentBits, terms }: Operation,
  engine: ModularEngine,
  random: RandomSource,
): () => Promise<number> {
  const ring = engine.ring(modulus);
  const element = (): bigint => 1n + uniformBelow(modulus - 1n, random);
  const elements = (): bigint[] => Array.from({ length: terms }, element);
  const exponent = (): bigint => uniformBits(exponentBits, random);
  const jobs = () => elements().map((base) => ({ base, exponent: exponent() }));
  const exponents = (): bigint[] => Array.from({ length: terms }, exponent);

  switch (kind) {
    case 'multiply':
      return () => {
        const [a, b] = [element(), element()];
        return timed(() => Promise.resolve(ring.multiply(a, b)));
      };
    case 'product': {
      return () => {
        const factors = elements();
        return timed(() => ring.products([factors]));
      };
    }
    case 'power':
      return () => {
        const job = jobs();
        return timed(() => ring.powers(job));
      };
    case 'multiPower':
      return () => {
        const list = jobs();
        return timed(() => ring.multiPowers([list]));
      };
    case 'inverses':
      return () => {
        const values = elements();
        return timed(() => ring.inverses(values));
      };
    case 'jacobi':
      return () => {
        const values = [element()];
        return timed(() => engine.jacobi(values, modulus));
      };
    case 'fixed': {
      const fixed = ring.fixedProducts(elements(), exponentBits);
      return () => {
        const lists = [exponents()];
        return timed(() => fixed.products(lists));
      };
    }
    case 'table':
      return async () => {
        const fixed = ring.fixedProducts(elements(), exponentBits);
        const lists = [exponents()];
        const first = await timed(() => fixed.products(lists));
        return Math.max(0, first - (await timed(() => fixed.products(lists))));
      };
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
