/**
 * Levels of the packed suite against exact arithmetic: every step of training, scoring and comparison
 * in one process. `DUOVEIL_LONG_TESTS=1` takes all recordings and all rows, and more schemas.
 */
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../../../harness/src/local/engine.js';
import {
  encryptPacked,
  packedKeys,
  packedRoles,
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
import {
  featureValues,
  levelFactors,
  pack,
  packingPlan,
  STATISTICAL_BITS,
} from '../../encoding/packing-plan.js';
import { determinantBound, numeratorBound } from '../../encoding/bounds.js';
import { quantiseRow } from '../../encoding/quantise.js';
import type { Rational } from '../../encoding/rational.js';
import { scaleOf } from '../../encoding/scale.js';
import { DEFAULT_CHANNELS, type Schema } from '../../encoding/schema.js';
import {
  DEFAULT_LEVEL_QUANTILES,
  MAX_THRESHOLD_SCALED,
  scaledThreshold,
  THRESHOLD_SCALE,
} from '../../encoding/threshold.js';
import { isDuoveilError } from '../../errors.js';
import { elementAt, inParts } from '../../lists.js';
import { uniformBelow, type RandomSource } from '../../random.js';
import { acceptScore, answerScore, prepareScore, requestScore } from '../packed/score.js';
import { acceptTransfers, chooseTransfers, offerTransfers } from './base-ot.js';
import {
  acceptLevel,
  evaluateComparison,
  garbleComparison,
  inputCount,
  outputCount,
  requestComparison,
} from './level.js';
import {
  drawDelta,
  messageBytes,
  type ExtensionReceiver,
  type ExtensionSender,
} from './ot-extension.js';

const LONG = process.env['DUOVEIL_LONG_TESTS'] === '1';
const engine = testEngine();
afterAll(() => engine.close());

type Samples = readonly (readonly bigint[])[];

const known = new Map<TestModulusBits, Promise<PackedKeys>>();
function keysOf(bits: TestModulusBits): Promise<PackedKeys> {
  const keys = known.get(bits) ?? packedKeys(bits, engine, new SeededRandom(`levels/${bits}`));
  known.set(bits, keys);
  return keys;
}

/** One session for all tests, opened by base transfers. */
interface Session {
  readonly sender: ExtensionSender;
  readonly receiver: ExtensionReceiver;
  instance: number;
}
const session: Promise<Session> = (async () => {
  const random = new SeededRandom('session');
  const offer = offerTransfers(random);
  const { delta, choices } = drawDelta(random);
  const { message, keys } = await chooseTransfers(offer.message, choices, random);
  const receiver = { keys: await acceptTransfers(offer, message) };
  return { sender: { delta, keys }, receiver, instance: 0 };
})();

/** The roles for level output. */
async function levelRoles(
  bits: TestModulusBits,
  schema: Schema,
  window: number,
  thresholds: readonly bigint[],
): Promise<PackedRoles> {
  const keys = await keysOf(bits);
  const plan = packingPlan(schema, window, bits, thresholds);
  const floors = schema.channels.map((channel) => scaleOf(channel).F);
  return {
    keys,
    schema,
    plan,
    floors,
    sp: { plan, patient: keys.key, csp: keys.csp.key, own: keys.own },
    csp: { plan, own: keys.csp },
  };
}

async function trainOn(roles: PackedRoles, window: Samples, random: RandomSource) {
  const { features, featureSlots } = roles.plan;
  const values = window.map((sample) => featureValues(features, sample));
  const sums = features.map((_, i) => values.reduce((sum, row) => sum + elementAt(row, i), 0n));
  const packed = inParts(sums, featureSlots.perPlaintext).map((part) =>
    pack(part, featureSlots.bits),
  );
  return trainPacked(roles, await roles.keys.key.encrypt(packed, random), random);
}

/** Shares of `num`, and the level that comes of them. */
async function scoreLevel(
  { plan, sp, csp, keys }: PackedRoles,
  model: PackedModelHalves,
  sample: Awaited<ReturnType<typeof encryptPacked>>[number],
  random: RandomSource,
) {
  const prepared = await prepareScore(sp, model.sp, random);
  const { request, pending } = requestScore(sp, sample, prepared);
  const scored = await answerScore(csp, keys.provider, model.csp, request, random);
  const own = await acceptScore(sp, model.sp, pending, scored.answer);
  const shares = {
    // The CSP's share of det is det + τ.
    sp: { numerator: own, determinant: -model.sp.share.determinant },
    csp: { numerator: scored.share, determinant: model.csp.share.determinant },
  };
  const open = await session;
  const instance = (open.instance += 1);
  const asked = requestComparison(open.receiver, plan, shares.csp, instance);
  expect(asked.message).toHaveLength(messageBytes(inputCount(plan)));
  const { garbled, outputMasks } = garbleComparison(
    open.sender,
    plan,
    shares.sp,
    asked.message,
    instance,
    random,
  );
  const colours = evaluateComparison(asked.pending, garbled);
  expect(colours).toHaveLength(outputCount(plan));
  return { level: acceptLevel(colours, outputMasks), shares };
}

/** The definition: how many thresholds the distance exceeds. */
const levelOf = ({ numerator, denominator }: Rational, thresholds: readonly bigint[]) =>
  thresholds.filter((threshold) => numerator * THRESHOLD_SCALE > threshold * denominator).length;

/** Train, score, compare; every level must be that of the definition. The levels. */
async function expectLevels(
  bits: TestModulusBits,
  schema: Schema,
  window: Samples,
  samples: Samples,
  thresholds: readonly bigint[],
  seed: string,
): Promise<number[]> {
  const random = new SeededRandom(`level/${seed}`);
  const roles = await levelRoles(bits, schema, window.length, thresholds);
  const model = await trainOn(roles, window, random);
  const exact = trainExact(window, roles.floors);
  const { order } = roles.plan.field;
  const levels = [];
  for (const [i, sample] of (await encryptPacked(roles, samples, random)).entries()) {
    const { level, shares } = await scoreLevel(roles, model, sample, random);
    const distance = scoreExact(exact, elementAt(samples, i));
    expect(level).toBe(levelOf(distance, thresholds));
    expect(level).toBeLessThan(2 ** outputCount(roles.plan));
    levels.push(level);

    // The shares are of integers: det > 0, and num with MD² = (n-1)(num/det - 1/n).
    const sum = (part: 'numerator' | 'determinant') =>
      (shares.sp[part] + shares.csp[part] + order) % order;
    const [num, det, n] = [sum('numerator'), sum('determinant'), BigInt(window.length)];
    expect((n - 1n) * (n * num - det) * distance.denominator).toBe(distance.numerator * n * det);
    for (const threshold of thresholds) {
      const factors = levelFactors(window.length, threshold);
      const v = factors.numerator * num - factors.determinant * det;
      expect(v > 0n).toBe(levelOf(distance, [threshold]) === 1);
      const magnitude = v < 0n ? -v : v;
      expect(magnitude < 1n << BigInt(roles.plan.level?.width ?? 0)).toBe(true);
    }
  }
  return levels;
}

const ascending = (values: readonly bigint[]) =>
  [...new Set(values)].filter((value) => value >= 1n).sort((a, b) => (a < b ? -1 : 1));

describe('levels of vital signs', () => {
  const schema: Schema = { channels: DEFAULT_CHANNELS };
  const thresholds = DEFAULT_LEVEL_QUANTILES.map((quantile) => scaledThreshold(quantile, 4));
  const complete = (rows: readonly { cells: Readonly<Record<string, string | undefined>> }[]) =>
    rows.flatMap(({ cells }) => {
      const row = quantiseRow(schema, cells);
      return 'complete' in row ? [row.complete] : [];
    });
  const simulated = (['deterioration', 'calm'] as const).map((scenario) => ({
    name: `a simulation, ${scenario}`,
    rows: () => complete(simulate({ seed: 5, rows: 300, scenario }).rows),
  }));
  const recorded = (listRecordings() ?? []).map((recording) => ({
    name: `recording ${recording.id}`,
    rows: () => complete(readRecording(recording)),
  }));
  const cases = (
    LONG ? [...recorded, ...simulated] : [...recorded.slice(0, 2), ...simulated.slice(0, 1)]
  ).flatMap((source, i) => [
    { ...source, bits: 1024 as const, size: i % 2 === 0 ? 20 : 60, step: LONG ? 1 : 19 },
    ...(i === 0 ? [{ ...source, bits: 2048 as const, size: 60, step: LONG ? 7 : 70 }] : []),
  ]);

  it.each(cases)(
    'are those of the definition: $name, a window of $size, one row in $step, $bits bits',
    async ({ name, rows, bits, size, step }) => {
      const quantised = rows();
      const samples = quantised.slice(size).filter((_, i) => i % step === 0);
      expect(samples.length).toBeGreaterThan(3);
      // And one that lies far out, in case that the others do not.
      const far = schema.channels.map((channel) => scaleOf(channel).D);
      const window = quantised.slice(0, size);
      const levels = await expectLevels(
        bits,
        schema,
        window,
        [...samples, far],
        thresholds,
        `${name}/${bits}`,
      );
      expect(levels.at(-1)).toBe(3);
      expect(Math.min(...levels)).toBeLessThan(3);
    },
  );
});

describe('a level', () => {
  const windowOf = (schema: Schema, size: number, seed: string): bigint[][] => {
    const random = new SeededRandom(seed);
    return Array.from({ length: size }, () =>
      schema.channels.map((channel) => uniformBelow(scaleOf(channel).D + 1n, random)),
    );
  };

  it.each([
    { bits: 512, b: [8], size: 20 },
    { bits: 512, b: [6, 6], size: 12 },
    { bits: 1024, b: [8, 7, 6], size: 30 },
    { bits: 1024, b: [8, 8, 8, 8], size: 60 },
  ] as { bits: TestModulusBits; b: number[]; size: number }[])(
    'is right where the threshold lies at the distance, one below and one above: $b bits at $bits',
    async ({ bits, b, size }) => {
      const schema = schemaOfBits(...b);
      const window = windowOf(schema, size, `near/${b.join()}`);
      const floors = schema.channels.map((channel) => scaleOf(channel).F);
      const exact = trainExact(window, floors);
      for (const sample of windowOf(schema, 2, `near/samples/${b.join()}`)) {
        const { numerator, denominator } = scoreExact(exact, sample);
        const scaled = (numerator * THRESHOLD_SCALE) / denominator;
        const thresholds = ascending([scaled - 1n, scaled, scaled + 1n, scaled + 2n]);
        const seed = `near/${sample.join()}`;
        const levels = await expectLevels(bits, schema, window, [sample], thresholds, seed);
        // Between floor and floor + 1, and exactly at floor only where it is a multiple of 2^-16.
        const below = thresholds.filter((threshold) => threshold <= scaled).length;
        const at = (numerator * THRESHOLD_SCALE) % denominator === 0n;
        expect(levels).toEqual([at ? below - 1 : below]);
        for (const threshold of thresholds) {
          await expectLevels(bits, schema, window, [sample], [threshold], `${seed}/${threshold}`);
        }
      }
    },
  );

  it('at a distance that is a threshold exactly is the lower one', async () => {
    // Two values on one channel, F = 1: the distance is a small rational; n = 5 makes it a multiple.
    const schema = schemaOf([{ D: 255n, floor: 1n }]);
    let found = 0;
    for (let height = 1n; height <= 12n && found < 3; height++) {
      const window = [0n, height, 0n, height].map((x) => [x]);
      const exact = trainExact(window, [1n]);
      for (let x = 0n; x <= 40n && found < 3; x++) {
        const { numerator, denominator } = scoreExact(exact, [x]);
        const scaled = numerator * THRESHOLD_SCALE;
        if (scaled % denominator !== 0n || scaled / denominator < 2n) continue;
        const T = scaled / denominator;
        found += 1;
        const seed = `exactly/${height}/${x}`;
        expect(await expectLevels(512, schema, window, [[x]], [T], seed)).toEqual([0]);
        expect(await expectLevels(512, schema, window, [[x]], [T - 1n], seed)).toEqual([1]);
        expect(await expectLevels(512, schema, window, [[x]], [T - 1n, T], seed)).toEqual([1]);
      }
    }
    expect(found).toBe(3);
  });

  it('counts fifteen thresholds', async () => {
    const schema = schemaOfBits(6);
    const window = windowOf(schema, 12, 'fifteen');
    const exact = trainExact(window, [1n]);
    const samples = [0n, 10n, 31n, 40n, 63n].map((x) => [x]);
    const largest = Math.max(
      ...samples.map((sample) => {
        const { numerator, denominator } = scoreExact(exact, sample);
        return Number((numerator * THRESHOLD_SCALE) / denominator);
      }),
    );
    const thresholds = Array.from({ length: 15 }, (_, i) => BigInt(largest * (i + 1)) / 16n);
    const levels = await expectLevels(512, schema, window, samples, thresholds, 'fifteen');
    expect(Math.max(...levels)).toBe(15);
    expect(new Set(levels).size).toBeGreaterThan(2);
  });

  it('is that of the definition for any schema, window, thresholds and samples', async () => {
    const channel = fc.record({
      bits: fc.integer({ min: 1, max: 12 }),
      floor: fc.nat(),
      shape: fc.constantFrom('random', 'random', 'constant', 'extremes'),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(channel, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 0, max: LONG ? 400 : 40 }),
        fc.integer({ min: 1, max: 5 }),
        fc.string(),
        async (list, more, count, seed) => {
          const size = list.length + 2 + more;
          const random = new SeededRandom(`any/${seed}`);
          const draw = (thresholds: readonly bigint[]) => fitted(list, size, thresholds);
          const thresholds = ascending(
            Array.from({ length: count }, () => 1n + uniformBelow(40n * THRESHOLD_SCALE, random)),
          );
          const schema = draw(thresholds);
          const greatest = schema.channels.map((one) => scaleOf(one).D);
          const any = () => greatest.map((D) => uniformBelow(D + 1n, random));
          const window = Array.from({ length: size }, (_, i) =>
            list.map(({ shape }, j) => {
              const D = elementAt(greatest, j);
              if (shape === 'random') return uniformBelow(D + 1n, random);
              return shape === 'constant' ? D / 3n : (i + j) % 2 === 0 ? 0n : D;
            }),
          );
          const samples = [greatest.map(() => 0n), greatest, any()];
          await expectLevels(1024, schema, window, samples, thresholds, seed);
        },
      ),
      { numRuns: LONG ? 150 : 10, seed: 1883 },
    );
  });

  function fitted(
    list: readonly { bits: number; floor: number }[],
    size: number,
    thresholds: readonly bigint[],
  ): Schema {
    for (let less = 0; ; less++) {
      const schema = schemaOf(
        list.map(({ bits, floor }) => {
          const D = (1n << BigInt(Math.max(bits - less, 1))) - 1n;
          return { D, floor: 1n + (BigInt(floor) % D) };
        }),
      );
      try {
        packingPlan(schema, size, 1024, thresholds);
        return schema;
      } catch (error) {
        if (!isDuoveilError(error, 'BOUNDS_EXCEEDED') || less > 24) throw error;
      }
    }
  }

  it('needs a plan for level output', async () => {
    const roles = packedRoles(await keysOf(512), schemaOfBits(4), 4);
    const { receiver } = await session;
    const shares = { numerator: 1n, determinant: 1n };
    expect(() => requestComparison(receiver, roles.plan, shares, 1)).toThrow(RangeError);
    expect(() => outputCount(roles.plan)).toThrow('distance output');
  });

  it('takes a key of the hash and tables of the right lengths alone', async () => {
    const plan = packingPlan(schemaOfBits(4), 4, 512, [THRESHOLD_SCALE]);
    const { receiver, sender } = await session;
    const random = new SeededRandom('malformed');
    const shares = { numerator: 1n, determinant: 1n };
    const { pending, message } = requestComparison(receiver, plan, shares, 900_001);
    const { garbled } = garbleComparison(sender, plan, shares, message, 900_001, random);
    const { hashKey, tables } = garbled;
    const longer = (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.alloc(1)]);
    for (const [wrong, field] of [
      [{ hashKey: hashKey.subarray(1), tables }, 'hash_key'],
      [{ hashKey: longer(hashKey), tables }, 'hash_key'],
      [{ hashKey, tables: tables.subarray(1) }, 'tables'],
      [{ hashKey, tables: longer(tables) }, 'tables'],
      [{ hashKey, tables: new Uint8Array(0) }, 'tables'],
    ] as const) {
      expect(() => evaluateComparison(pending, wrong)).toThrow(
        expect.objectContaining({ code: 'MESSAGE_INVALID', details: { field } }),
      );
    }
    expect(() =>
      garbleComparison(sender, plan, shares, message.subarray(1), 900_001, random),
    ).toThrow(expect.objectContaining({ code: 'MESSAGE_INVALID', details: { field: 'labels' } }));
  });
});

describe('a plan for level output', () => {
  it.each([
    { p: 1, b: 4, size: 4, bits: 512 },
    { p: 2, b: 8, size: 20, bits: 1024 },
    { p: 4, b: 8, size: 60, bits: 2048 },
    { p: 4, b: 16, size: 4096, bits: 2048 },
    { p: 8, b: 12, size: 600, bits: 3072 },
  ])(
    'has a field with room to hide and a width that holds v: $p channels of $b bits',
    ({ p, b, size, bits }) => {
      const schema = schemaOfBits(...Array<number>(p).fill(b));
      const thresholdLists = [
        [1n],
        [scaledThreshold(0.975, p)],
        DEFAULT_LEVEL_QUANTILES.map((quantile) => scaledThreshold(quantile, p)),
        [1n, MAX_THRESHOLD_SCALED],
      ];
      for (const thresholds of thresholdLists) {
        const { level, field } = packingPlan(schema, size, bits, thresholds);
        expect(level?.thresholds).toEqual(thresholds);
        const width = BigInt(level?.width ?? 0);
        expect(field.order > 1n << (width + 1n + BigInt(STATISTICAL_BITS))).toBe(true);
        // v = numerator·num - determinant·det lies between its value at the two ends.
        const ends = thresholds.flatMap((threshold) => {
          const { numerator, determinant } = levelFactors(size, threshold);
          const n = BigInt(size);
          expect(numerator).toBe(65_536n * n * (n - 1n));
          expect(determinant).toBe(65_536n * (n - 1n) + n * threshold);
          return [
            numerator * numeratorBound(schema, size),
            determinant * determinantBound(schema, size),
          ];
        });
        const most = ends.reduce((a, e) => (a > e ? a : e));
        expect(most < 1n << width).toBe(true);
        // And it is not wider than that needs.
        expect(most >= 1n << (width - 1n)).toBe(true);
      }
    },
  );

  it('is wide enough at the very extremes: no spread at all, and the greatest', async () => {
    const schema = schemaOfBits(4, 4);
    const size = 6;
    const calm = Array.from({ length: size }, () => [0n, 0n]);
    const wild = Array.from({ length: size }, (_, i) => [
      i % 2 === 0 ? 0n : 15n,
      i % 4 < 2 ? 0n : 15n,
    ]);
    const corners = [
      [0n, 0n],
      [15n, 15n],
      [0n, 15n],
    ];
    for (const thresholds of [[1n], [1n, MAX_THRESHOLD_SCALED]]) {
      const seed = `extremes/${thresholds.length}`;
      const levels = await expectLevels(512, schema, calm, corners, thresholds, `calm/${seed}`);
      expect(levels).toEqual([0, 1, 1]);
      await expectLevels(512, schema, wild, corners, thresholds, `wild/${seed}`);
    }
  });
});
