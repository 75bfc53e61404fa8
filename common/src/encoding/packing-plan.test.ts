import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { schemaOf, schemaOfBits, type TestChannel } from '../../../harness/src/local/schemas.js';
import { isDuoveilError } from '../errors.js';
import { FIELDS } from '../field/primes.js';
import { determinantBound, numeratorBound } from './bounds.js';
import { decodeChannels, encodeChannels } from './channel-codec.js';
import {
  featuresOf,
  featureValues,
  pack,
  packingPlan,
  unpack,
  type PackingPlan,
} from './packing-plan.js';
import { MAX_WINDOW } from './policy.js';
import { scaleOf } from './scale.js';
import { DEFAULT_CHANNELS, type Schema } from './schema.js';

const LONG = process.env['DUOVEIL_LONG_TESTS'] === '1';
const SEED = 20_03;
const KAPPA = 1n << 64n;

const channel = fc
  .integer({ min: 1, max: 24 })
  .chain((bits) =>
    fc
      .bigInt({ min: 1n << BigInt(bits - 1), max: (1n << BigInt(bits)) - 1n })
      .chain((D): fc.Arbitrary<TestChannel> =>
        fc.record({ D: fc.constant(D), floor: fc.oneof(fc.constantFrom(1n, D), fc.bigInt(1n, D)) }),
      ),
  );

const settings = fc.array(channel, { minLength: 1, maxLength: 8 }).chain((channels) =>
  fc.record({
    schema: fc.constant(schemaOf(channels)),
    window: fc.oneof(
      fc.constantFrom(channels.length + 2, 60, MAX_WINDOW),
      fc.integer({ min: channels.length + 2, max: MAX_WINDOW }),
    ),
  }),
);

const check = (predicate: (schema: Schema, window: number) => void, runs = LONG ? 3000 : 200) => {
  fc.assert(
    fc.property(settings, ({ schema, window }) => {
      predicate(schema, window);
    }),
    { numRuns: runs, seed: SEED },
  );
};

const power = (bits: number) => 1n << BigInt(bits);

/** The largest value of every feature's sum, the others as their definition says. */
function greatestSums(schema: Schema, window: number, plan: PackingPlan): bigint[] {
  const greatest = schema.channels.map((item) => scaleOf(item).D);
  return featureValues(plan.features, greatest).map((value) => value * BigInt(window));
}

/** The largest value before it is masked, and the largest mask, of everything that is opened. */
function extremes(schema: Schema, window: number, plan: PackingPlan) {
  const { field, p, features, matrixQuotientBits, coefficientQuotientBits } = plan;
  const P = field.order;
  const w = plan.featureSlots.bits;
  const multiple = (quotientBits: number) => P * (power(quotientBits + 64) - 1n);
  const slotMask = power(w - 1) - 1n;
  return {
    sums: greatestSums(schema, window, plan),
    slotMask,
    // Σ_k R_ik·Q_C[k][j], the entry of R·Q_S, and the hiding multiple; Q_C is whatever a slot holds.
    matrix: BigInt(p + 1) * (P - 1n) * (power(w) - 1n) + (P - 1n),
    matrixMask: multiple(matrixQuotientBits),
    // Σ_k M⁻¹_ik·R_kj and τ.
    coefficient: BigInt(p + 1) * (P - 1n) ** 2n + (P - 1n),
    coefficientMask: multiple(coefficientQuotientBits),
    // ⟨θ̂, σ⟩ and μ.
    crossTerm: BigInt(features.length) * (P - 1n) * slotMask + (P - 1n),
    crossTermMask: multiple(plan.crossTermQuotientBits),
    // ⟨τ, φ̂⟩ of features as large as a slot.
    answer: BigInt(features.length) * (P - 1n) * (power(w) - 1n),
  };
}

/** All sizes that fit, of those that are usual. */
function fitting(schema: Schema, window: number): { bits: number; plan: PackingPlan }[] {
  return [512, 1024, 2048, 3072, 4096].flatMap((bits) => {
    try {
      return [{ bits, plan: packingPlan(schema, window, bits) }];
    } catch (error) {
      if (isDuoveilError(error, 'BOUNDS_EXCEEDED')) return [];
      throw error;
    }
  });
}

/** What a plaintext may hold: less than the smallest N of that many bits. */
const roomOf = (bits: number) => power(bits - 1);

const full = (value: bigint, count: number): bigint[] => Array<bigint>(count).fill(value);

function expectExact(values: readonly bigint[], slotBits: number, room: bigint): void {
  const packed = pack(values, slotBits);
  expect(packed < room).toBe(true);
  expect(unpack(packed, slotBits, values.length)).toEqual(values);
}

describe('the packing plan', () => {
  it('has room for the greatest value of every slot under the greatest mask, below N', () => {
    let seen = 0;
    check((schema, window) => {
      for (const { bits, plan } of fitting(schema, window)) {
        seen++;
        const most = extremes(schema, window, plan);
        const room = roomOf(bits);
        const { featureSlots, matrixSlots, coefficientSlots, crossTerm, plaintexts } = plan;

        const masked = most.sums.map((sum) => sum + most.slotMask);
        const parts = Array.from({ length: plaintexts }, (_, i) =>
          masked.slice(i * featureSlots.perPlaintext, (i + 1) * featureSlots.perPlaintext),
        );
        expect(parts.flat()).toHaveLength(plan.features.length);
        for (const part of parts) expectExact(part, featureSlots.bits, room);

        expectExact(
          full(most.matrix + most.matrixMask, matrixSlots.perPlaintext),
          matrixSlots.bits,
          room,
        );
        expectExact(
          full(most.coefficient + most.coefficientMask, coefficientSlots.perPlaintext),
          coefficientSlots.bits,
          room,
        );

        const below = pack(parts[crossTerm.plaintext] ?? [], featureSlots.bits);
        expect(below < power(crossTerm.shift)).toBe(true);
        const cross = (most.crossTerm + most.crossTermMask) << BigInt(crossTerm.shift);
        expect(cross + below < room).toBe(true);

        // ν is at most P - 1 above a multiple of P below N_S - 2^L, for every N_S as long as N.
        expect(most.answer < power(plan.answerBits)).toBe(true);
        expect(power(plan.answerBits) < room).toBe(true);
      }
    });
    expect(seen).toBeGreaterThan(100);
  });

  it('hides every value but for 2^-64: values reach over no more of the range of their masks', () => {
    check((schema, window) => {
      for (const { bits, plan } of fitting(schema, window)) {
        const most = extremes(schema, window, plan);
        const { order: P } = plan.field;
        const quotients = (bitsOf: number) => power(bitsOf + 64);
        for (const sum of most.sums) expect(sum * KAPPA <= most.slotMask + 1n).toBe(true);
        expect((most.matrix / P) * KAPPA <= quotients(plan.matrixQuotientBits)).toBe(true);
        expect((most.coefficient / P) * KAPPA <= quotients(plan.coefficientQuotientBits)).toBe(
          true,
        );
        expect((most.crossTerm / P) * KAPPA <= quotients(plan.crossTermQuotientBits)).toBe(true);
        const multiples = (roomOf(bits) - power(plan.answerBits)) / P;
        expect(((most.answer + P - 1n) / P) * KAPPA <= multiples).toBe(true);
      }
    });
  });

  it('works in the smallest field that tells all leverages apart', () => {
    check((schema, window) => {
      const bound = 2n * numeratorBound(schema, window) * determinantBound(schema, window);
      for (const { plan } of fitting(schema, window)) {
        const chosen = FIELDS.findIndex(({ order }) => order === plan.field.order);
        expect(plan.field.order > bound).toBe(true);
        expect((FIELDS[chosen - 1]?.order ?? 0n) <= bound).toBe(true);
      }
    });
  });

  it('is the same for everybody: of a schema that has travelled, with other names', () => {
    check((schema, window) => {
      const travelled = decodeChannels(encodeChannels(schema), 'a test');
      const renamed = { channels: schema.channels.map((item, i) => ({ ...item, name: `x${i}` })) };
      for (const { bits, plan } of fitting(schema, window)) {
        expect(packingPlan(travelled, window, bits)).toEqual(plan);
        expect(packingPlan(renamed, window, bits)).toEqual(plan);
      }
    }, 50);
  });

  it('says which |N| would do where it does not fit, and that no smaller one would', () => {
    let refused = 0;
    check((schema, window) => {
      const attempt = (bits: number): number | undefined => {
        try {
          packingPlan(schema, window, bits);
          return undefined;
        } catch (error) {
          if (!isDuoveilError(error, 'BOUNDS_EXCEEDED')) throw error;
          expect(error.message).toContain(`at least ${error.details.sufficientBits} bits`);
          return error.details.sufficientBits;
        }
      };
      for (const bits of [512, 1024, 2048]) {
        const sufficient = attempt(bits);
        if (sufficient === undefined) continue;
        refused++;
        expect(sufficient % 64).toBe(0);
        expect(sufficient).toBeGreaterThan(bits);
        expect(attempt(sufficient)).toBeUndefined();
        expect(attempt(sufficient - 64)).toBe(sufficient);
      }
    });
    expect(refused).toBeGreaterThan(50);
  });

  it('is there for every schema, also the largest of all, at 3072 bits', () => {
    const largest = 2n ** 24n - 1n;
    const schema = schemaOf(full(largest, 8).map((D) => ({ D, floor: D })));
    expect(packingPlan(schema, MAX_WINDOW, 3072).field).toBe(FIELDS.at(-1));
    // With floors as they are in practice, 2048 bits do.
    const usual = schemaOfBits(24, 24, 24, 24, 24, 24, 24, 24);
    expect(packingPlan(usual, MAX_WINDOW, 2048).field.bits).toBe(960);
  });

  it('needs one ciphertext for a default sample at 2048 bits, whatever the window', () => {
    for (const window of [6, 20, 60, 600, MAX_WINDOW]) {
      const plan = packingPlan({ channels: DEFAULT_CHANNELS }, window, 2048);
      expect(plan).toMatchObject({ plaintexts: 1, crossTerm: { plaintext: 0 } });
      expect(plan.crossTerm.shift).toBe(14 * plan.featureSlots.bits);
    }
  });

  it('lets the cross term ride on the last ciphertext where it fits, else in one of its own', () => {
    let [riding, alone] = [0, 0];
    check((schema, window) => {
      for (const { bits, plan } of fitting(schema, window)) {
        const { plaintexts, featureSlots, crossTerm, field } = plan;
        const slots = plan.features.length - (plaintexts - 1) * featureSlots.perPlaintext;
        const needed = field.bits + plan.crossTermQuotientBits + 65;
        const fits = slots * featureSlots.bits + needed < bits;
        expect(crossTerm).toEqual(
          fits
            ? { plaintext: plaintexts - 1, shift: slots * featureSlots.bits }
            : { plaintext: plaintexts, shift: 0 },
        );
        if (plaintexts > 1 && fits) riding++;
        if (plaintexts > 1 && !fits) alone++;
      }
    });
    expect(Math.min(riding, alone)).toBeGreaterThan(20);
  });
});

describe('features', () => {
  it('are all channels, then all products of two, in the order of the channels', () => {
    expect(featuresOf(2)).toEqual([[0], [1], [0, 0], [0, 1], [1, 1]]);
    for (let p = 1; p <= 8; p++) expect(featuresOf(p)).toHaveLength(p + (p * (p + 1)) / 2);
    expect(featureValues(featuresOf(3), [2n, 3n, 5n])).toEqual(
      [2, 3, 5, 4, 6, 10, 9, 15, 25].map(BigInt),
    );
  });
});

describe('packing', () => {
  it('is undone by unpacking, as long as every value fits its slot', () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 200 })
          .chain((bits) =>
            fc.tuple(
              fc.constant(bits),
              fc.array(fc.oneof(fc.constant(power(bits) - 1n), fc.bigInt(0n, power(bits) - 1n))),
            ),
          ),
        ([bits, values]) => {
          expect(unpack(pack(values, bits), bits, values.length)).toEqual(values);
        },
      ),
      { seed: SEED },
    );
  });

  it('leaves out what lies above the slots', () => {
    expect(unpack(pack([1n, 2n, 3n], 8), 8, 2)).toEqual([1n, 2n]);
  });

  it('shows a value that is too large: it runs into its neighbour', () => {
    expect(unpack(pack([256n, 2n], 8), 8, 2)).toEqual([0n, 3n]);
  });
});
