/**
 * The packed suite gives the exact rational of the oracle, bit for bit: every step of training and
 * scoring, in one process. `DUOVEIL_LONG_TESTS=1` takes all recordings and all rows, and more schemas.
 */
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';

import { LocalBlindedArithmetic } from '../../../../harness/src/local/arithmetic.js';
import { testEngine } from '../../../../harness/src/local/engine.js';
import {
  encryptPacked,
  packedKeys,
  packedRoles,
  scorePacked,
  trainPacked,
  type PackedKeys,
  type PackedModelHalves,
  type PackedRoles,
} from '../../../../harness/src/local/packed.js';
import { SeededRandom } from '../../../../harness/src/local/randomness.js';
import { schemaOf, schemaOfBits } from '../../../../harness/src/local/schemas.js';
import type { TestModulusBits } from '../../../../harness/src/local/test-primes.js';
import { scoreExact, trainExact } from '../../../../harness/src/oracle/model.js';
import { listRecordings, readRecording } from '../../../../harness/src/recordings.js';
import { simulate } from '../../../../harness/src/simulation/simulate.js';
import { decrypt } from '../../bcp/keys.js';
import { distanceBounds } from '../../encoding/bounds.js';
import { featureValues, pack, packingPlan } from '../../encoding/packing-plan.js';
import { quantiseRow } from '../../encoding/quantise.js';
import { reconstruct, type Rational } from '../../encoding/rational.js';
import { scaleOf } from '../../encoding/scale.js';
import { DEFAULT_CHANNELS, type Schema } from '../../encoding/schema.js';
import { isDuoveilError } from '../../errors.js';
import { elementAt, inParts } from '../../lists.js';
import { uniformBelow, type RandomSource } from '../../random.js';
import { score } from '../reference/score.js';
import { train } from '../reference/train.js';
import { distanceOfLeverage } from './leverage.js';

const LONG = process.env['DUOVEIL_LONG_TESTS'] === '1';
const engine = testEngine();
afterAll(() => engine.close());

type Samples = readonly (readonly bigint[])[];

const known = new Map<TestModulusBits, Promise<PackedKeys>>();
function keysOf(bits: TestModulusBits): Promise<PackedKeys> {
  const keys = known.get(bits) ?? packedKeys(bits, engine, new SeededRandom(`exactness/${bits}`));
  known.set(bits, keys);
  return keys;
}

/** `Enc(Σφ)` of a window, encrypted as it stands: large windows are trained on as quickly as small ones. */
async function encryptSums({ plan, keys }: PackedRoles, window: Samples, random: RandomSource) {
  const { features, featureSlots } = plan;
  const values = window.map((sample) => featureValues(features, sample));
  const sums = features.map((_, i) => values.reduce((sum, row) => sum + elementAt(row, i), 0n));
  const packed = inParts(sums, featureSlots.perPlaintext).map((part) =>
    pack(part, featureSlots.bits),
  );
  return keys.key.encrypt(packed, random);
}

async function distances(
  roles: PackedRoles,
  model: PackedModelHalves,
  samples: Samples,
  random: RandomSource,
): Promise<(Rational | undefined)[]> {
  const results = [];
  for (const sample of await encryptPacked(roles, samples, random)) {
    const leverage = await scorePacked(roles, model, sample, random);
    results.push(distanceOfLeverage(leverage, roles.plan, roles.schema));
  }
  return results;
}

/** Train from a window's sums, score, and compare with the oracle. */
async function expectExact(
  bits: TestModulusBits,
  schema: Schema,
  window: Samples,
  samples: Samples,
  seed: string,
): Promise<PackedRoles> {
  const roles = packedRoles(await keysOf(bits), schema, window.length);
  const random = new SeededRandom(`exact/${seed}`);
  const model = await trainPacked(roles, await encryptSums(roles, window, random), random);
  const exact = trainExact(window, roles.floors);
  const expected = samples.map((sample) => scoreExact(exact, sample));
  expect(await distances(roles, model, samples, random)).toEqual(expected);
  return roles;
}

describe('the packed suite on vital signs', () => {
  const schema: Schema = { channels: DEFAULT_CHANNELS };
  const complete = (rows: readonly { cells: Readonly<Record<string, string | undefined>> }[]) =>
    rows.flatMap(({ cells }) => {
      const row = quantiseRow(schema, cells);
      return 'complete' in row ? [row.complete] : [];
    });
  const simulated = (['calm', 'deterioration'] as const).map((scenario) => ({
    name: `a simulation, ${scenario}`,
    rows: () => complete(simulate({ seed: 5, rows: 300, scenario }).rows),
  }));
  const recorded = (listRecordings() ?? []).map((recording) => ({
    name: `recording ${recording.id}`,
    rows: () => complete(readRecording(recording)),
  }));
  const all = recorded.length > 0 ? recorded : simulated;
  const cases = (LONG ? [...all, ...simulated] : [...all.slice(0, 3), ...simulated.slice(0, 1)])
    // The whole way at the usual size for one of them; a smaller modulus for breadth.
    .flatMap((source, i) => [
      { ...source, bits: 1024 as const, window: i % 2 === 0 ? 20 : 60, step: LONG ? 1 : 7 },
      ...(LONG || i === 0
        ? [20, 60].map((size) => ({
            ...source,
            bits: 2048 as const,
            window: size,
            step: LONG ? 7 : 35,
          }))
        : []),
    ]);

  it.each(cases)(
    'is exact: $name, a window of $window, one row in $step, $bits bits',
    async ({ name, rows, bits, window: size, step }) => {
      const quantised = rows();
      const window = quantised.slice(0, size);
      const scored = quantised.slice(size).filter((_, i) => i % step === 0);
      expect(window).toHaveLength(size);
      expect(scored.length).toBeGreaterThan(5);
      const roles = packedRoles(await keysOf(bits), schema, size);
      const random = new SeededRandom(name);
      const encrypted = await encryptPacked(roles, window, random);
      const sums = await roles.keys.bcp.sums(
        Array.from({ length: roles.plan.plaintexts }, (_, i) =>
          encrypted.map((list) => elementAt(list, i)),
        ),
      );
      const model = await trainPacked(roles, sums, random);
      const exact = trainExact(window, roles.floors);
      expect(await distances(roles, model, scored, random)).toEqual(
        scored.map((sample) => scoreExact(exact, sample)),
      );
    },
  );
});

/** Schemas, windows and samples, reduced until they fit. */
describe.each([
  { bits: 512, runs: LONG ? 300 : 25, largest: 24 },
  { bits: 1024, runs: LONG ? 100 : 8, largest: 24 },
  { bits: 2048, runs: LONG ? 40 : 3, largest: 24 },
  { bits: 3072, runs: LONG ? 20 : 1, largest: 24 },
] as const)('the packed suite at $bits bits', ({ bits, runs, largest }) => {
  const channels = fc.array(
    fc.record({
      bits: fc.integer({ min: 1, max: largest }),
      short: fc.nat(),
      floor: fc.nat(),
      shape: fc.constantFrom('random', 'random', 'constant', 'extremes', 'zero', 'greatest'),
    }),
    { minLength: 1, maxLength: 8 },
  );

  const fitted = (list: readonly { bits: number; short: number; floor: number }[], n: number) => {
    for (let less = 0; ; less++) {
      const schema = schemaOf(
        list.map(({ bits: b, short, floor }) => {
          const top = 1n << BigInt(Math.max(b - less, 1));
          const D = top - 1n - (BigInt(short) % ((top + 1n) / 2n));
          return { D, floor: 1n + (BigInt(floor) % D) };
        }),
      );
      try {
        packingPlan(schema, n, bits);
        return schema;
      } catch (error) {
        if (!isDuoveilError(error, 'BOUNDS_EXCEEDED')) throw error;
        // Not even channels of one bit: the window is too large for so many of them.
        fc.pre(less < 24);
      }
    }
  };

  it('is exact for any schema and window, for samples at their bounds and within', async () => {
    await fc.assert(
      fc.asyncProperty(
        channels,
        fc.oneof(
          { weight: 3, arbitrary: fc.integer({ min: 0, max: 40 }) },
          { weight: 1, arbitrary: fc.integer({ min: 41, max: LONG ? 4086 : 400 }) },
        ),
        fc.string(),
        async (list, more, seed) => {
          const size = list.length + 2 + more;
          const schema = fitted(list, size);
          const random = new SeededRandom(`values/${seed}`);
          const greatest = schema.channels.map((channel) => scaleOf(channel).D);
          const any = () => greatest.map((D) => uniformBelow(D + 1n, random));
          const window = Array.from({ length: size }, (_, i) =>
            list.map(({ shape }, j) => {
              const D = elementAt(greatest, j);
              if (shape === 'random') return uniformBelow(D + 1n, random);
              if (shape === 'extremes') return (i + j) % 2 === 0 ? 0n : D;
              return shape === 'constant' ? D / 3n : shape === 'zero' ? 0n : D;
            }),
          );
          const samples = [greatest.map(() => 0n), greatest, any(), elementAt(window, 0)];
          await expectExact(bits, schema, window, samples, seed);
        },
      ),
      { numRuns: runs, seed: 1883 + bits },
    );
  });
});

describe('the packed suite', () => {
  const windowOf = (schema: Schema, size: number, seed: string): bigint[][] => {
    const random = new SeededRandom(seed);
    return Array.from({ length: size }, () =>
      schema.channels.map((channel) => uniformBelow(scaleOf(channel).D + 1n, random)),
    );
  };

  it.each([
    { bits: 512, name: 'one ciphertext, cross term in its own', b: [8], plaintexts: 1, at: 1 },
    { bits: 512, name: 'two, cross term on the last', b: [18, 18], plaintexts: 2, at: 1 },
    { bits: 512, name: 'two, cross term in its own', b: [8, 8, 8], plaintexts: 2, at: 2 },
    { bits: 512, name: 'three, cross term on the last', b: [18, 3, 3], plaintexts: 3, at: 2 },
    { bits: 1024, name: 'one, cross term riding', b: [12, 12], plaintexts: 1, at: 0 },
    {
      bits: 1024,
      name: 'several, the largest schema',
      b: Array<number>(8).fill(9),
      plaintexts: 4,
      at: 4,
    },
  ] as { bits: TestModulusBits; name: string; b: number[]; plaintexts: number; at: number }[])(
    'is exact with $name, at $bits bits',
    async ({ bits, b, plaintexts, at }) => {
      const schema = schemaOfBits(...b);
      const window = windowOf(schema, b.length + 6, `window/${bits}/${b.join()}`);
      const samples = [...windowOf(schema, 2, 'samples'), b.map((x) => 2n ** BigInt(x) - 1n)];
      const { plan } = await expectExact(bits, schema, window, samples, `shape/${b.join()}`);
      expect([plan.plaintexts, plan.crossTerm.plaintext]).toEqual([plaintexts, at]);
    },
  );

  it.each([
    { p: 1, b: 24, bits: 512 },
    { p: 2, b: 16, bits: 512 },
    { p: 4, b: 12, bits: 1024 },
    ...(LONG ? [{ p: 8, b: 24, bits: 2048 } as const] : []),
  ] as const)('is exact with the largest window: $p channels, $bits bits', async (setting) => {
    const { p, b, bits } = setting;
    const schema = schemaOfBits(...Array<number>(p).fill(b));
    const window = windowOf(schema, 4096, `large/${p}`);
    const extremes = window.map((sample, i) =>
      sample.map((_, j) => ((i ^ j) & 1 ? 2n ** BigInt(b) - 1n : 0n)),
    );
    const samples = [...windowOf(schema, 1, 'samples'), elementAt(extremes, 0)];
    await expectExact(bits, schema, window, samples, 'large/random');
    await expectExact(bits, schema, extremes, samples, 'large/extremes');
  });

  it.runIf(LONG)('is exact in the largest field', async () => {
    const D = 2n ** 24n - 1n;
    const schema = schemaOf(Array.from({ length: 8 }, () => ({ D, floor: D })));
    const window = windowOf(schema, 4096, 'field');
    const samples = windowOf(schema, 1, 'one');
    const { plan } = await expectExact(3072, schema, window, samples, 'field');
    expect(plan.field.bits).toBe(1024);
  });

  it('trains on rolling sums: samples multiplied in, and divided out again', async () => {
    const schema = schemaOfBits(8, 8);
    const roles = packedRoles(await keysOf(512), schema, 6);
    const { bcp } = roles.keys;
    const random = new SeededRandom('rolling');
    const samples = windowOf(schema, 9, 'rolling');
    const encrypted = await encryptPacked(roles, samples, random);
    let sums = await bcp.sums([encrypted.slice(0, 6).map((list) => elementAt(list, 0))]);
    for (let gone = 0; gone < 3; gone++) {
      const inverse = await bcp.negate([elementAt(elementAt(encrypted, gone), 0)]);
      const added = elementAt(elementAt(encrypted, gone + 6), 0);
      sums = await bcp.sums([[elementAt(sums, 0), elementAt(inverse, 0), added]]);
    }
    const model = await trainPacked(roles, sums, random);
    const exact = trainExact(samples.slice(3), roles.floors);
    expect(await distances(roles, model, samples, random)).toEqual(
      samples.map((sample) => scoreExact(exact, sample)),
    );
  });

  it.each([
    { b: [6], size: 4 },
    { b: [5, 7], size: 6 },
    { b: [3, 3, 3], size: 5 },
  ])('gives what the reference suite gives: $b bits, a window of $size', async ({ b, size }) => {
    const schema = schemaOfBits(...b);
    const roles = packedRoles(await keysOf(512), schema, size);
    const random = new SeededRandom(`both/${b.join()}`);
    const window = windowOf(schema, size, `both/${b.join()}`);
    const samples = [...windowOf(schema, 2, 'both/samples'), b.map(() => 0n)];

    const { bcp, key } = roles.keys;
    const arithmetic = new LocalBlindedArithmetic(roles.keys, roles.keys, random);
    const encrypt = async (list: Samples) => {
      const encrypted = [];
      for (const sample of list) encrypted.push(await key.encrypt(sample, random));
      return encrypted;
    };
    const reference = await train(arithmetic, bcp, await encrypt(window), roles.floors);
    const bounds = distanceBounds(schema, size);
    const expected: (Rational | undefined)[] = [];
    for (const sample of await encrypt(samples)) {
      const residue = await score(arithmetic, bcp, reference, sample);
      expected.push(
        reconstruct(residue, bcp.parameters.modulus, bounds.numerator, bounds.denominator),
      );
    }

    const model = await trainPacked(roles, await encryptSums(roles, window, random), random);
    expect(await distances(roles, model, samples, random)).toEqual(expected);
    expect(expected).not.toContain(undefined);
  });

  it('gives the patient the sums of the window, and nothing that overflows into a neighbour', async () => {
    const schema = schemaOfBits(8, 4);
    const roles = packedRoles(await keysOf(512), schema, 5);
    const random = new SeededRandom('gateway');
    const window = Array.from({ length: 5 }, () => [255n, 15n]);
    const encrypted = await encryptPacked(roles, window, random);
    const { bcp, keys } = roles.keys;
    const sums = await bcp.sums([encrypted.map((list) => elementAt(list, 0))]);
    const expected = pack([1275n, 75n, 325_125n, 19_125n, 1125n], roles.plan.featureSlots.bits);
    expect(await decrypt(bcp, keys.secretKey, sums)).toEqual([expected]);
  });
});

describe('a leverage', () => {
  const schema = schemaOfBits(4);
  const plan = packingPlan(schema, 4, 512);

  it('that no sample of the schema has gives no distance', () => {
    const random = new SeededRandom('leverages');
    for (let i = 0; i < 20; i++) {
      const residue = uniformBelow(plan.field.order, random);
      expect(distanceOfLeverage(residue, plan, schema)).toBeUndefined();
    }
    // Less than 1/n, which is that of the mean.
    expect(distanceOfLeverage(0n, plan, schema)).toBeUndefined();
  });

  it('of 1/n is that of the mean: the distance is 0', async () => {
    const n = 4n;
    const inverse = await engine.ring(plan.field.order).inverses([n]);
    expect(distanceOfLeverage(elementAt(inverse, 0), plan, schema)).toEqual({
      numerator: 0n,
      denominator: 1n,
    });
  });
});
