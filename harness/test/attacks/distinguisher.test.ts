/**
 * Two patients whose levels are the same all along, but not their vital signs. From what each server
 * sees of a score a classifier is to tell whose it is: on the masked sample that the CSP opens, on its
 * share of the comparison, on the answer that the service provider opens, on the bytes of all of it.
 */
import { levelFactors, pack, packingPlan, unpack } from '@duoveil/common/encoding';
import { elementAt, inParts } from '@duoveil/common/lists';
import type { AdditiveCiphertext } from '@duoveil/common/paillier';
import {
  acceptScore,
  answerScore,
  encryptProviderShare,
  encryptSamples,
  invertGram,
  keepCoefficients,
  keepCrossTerms,
  keepProviderShare,
  maskCoefficients,
  maskGram,
  maskSums,
  prepareScore,
  requestScore,
  shareGram,
} from '@duoveil/common/protocols/packed';
import { bitLength } from '@duoveil/common/integers';
import { uniformBits } from '@duoveil/common/random';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { packedKeys } from '../../src/local/packed.js';
import { SeededRandom } from '../../src/local/randomness.js';
import { schemaOfBits } from '../../src/local/schemas.js';
import { suspicions } from '../../src/statistics.js';
import { accuracy, histogramOf, marginOf, shapesOf, type Look } from './classifier.js';
import { engine } from './support.js';

const random = new SeededRandom('attacks/distinguisher');
const made = packedKeys(512, engine, random);
afterAll(() => engine.close());

const SCORES = 400;
const THRESHOLD = 400_000n;
const plan = packingPlan(schemaOfBits(16), 5, 512, [THRESHOLD]);
const { features, featureSlots, field } = plan;

/** The same course for both, on another height: their distances are the same, their readings are not. */
const COURSE = [0n, 3n, -2n, 1n, -3n];
const HEIGHTS = [2_000n, 60_000n] as const;

/** What both servers see of one score, as real parties and as broken ones play it. */
interface View {
  /** Slots of the masked features and the cross term, opened by the CSP. */
  readonly opened: readonly bigint[];
  /** The CSP's share of `num`. */
  readonly cspShare: bigint;
  /** What the service provider opens. */
  readonly answer: bigint;
  readonly providerShare: bigint;
  /** As bytes, both ways. */
  readonly bytes: Buffer;
}

/** Scores of one patient, each of the reading that the course has next. */
async function views(height: bigint): Promise<View[]> {
  const keys = await made;
  const sp = { plan, patient: keys.key, csp: keys.csp.key, own: keys.own };
  const csp = { plan, own: keys.csp };
  const window = COURSE.map((step) => [height + step]);
  const encrypted = await encryptSamples(plan, keys.key, window, random);
  const sums = await keys.bcp.sums(
    Array.from({ length: plan.plaintexts }, (_, i) => encrypted.map((list) => elementAt(list, i))),
  );
  const first = await maskSums(sp, sums, random);
  const rows = await shareGram(csp, first.openings, random);
  const second = await maskGram(sp, [1n], first.masks, rows, random);
  const inverse = await invertGram(csp, second.matrix, random);
  const { coefficients, share } = await maskCoefficients(sp, second.mask, inverse, random);
  const own = await encryptProviderShare(keys.own.key, share, random, plan);
  const kept = await keepCoefficients(csp, coefficients, random);
  const model = { share, crossTerms: keepCrossTerms(sp, kept.crossTerms) };
  const held = { share: kept.share, providerShare: keepProviderShare(plan, keys.provider, own) };

  const seen: View[] = [];
  for (const sample of inParts(
    (
      await encryptSamples(
        plan,
        keys.key,
        Array.from({ length: SCORES }, (_, i) => [height + elementAt(COURSE, i % 5)]),
        random,
      )
    ).flat(),
    plan.plaintexts,
  )) {
    const prepared = await prepareScore(sp, model, random);
    const { request, pending } = requestScore(sp, sample, prepared);
    const { answer, share: cspShare } = await answerScore(
      csp,
      keys.provider,
      held,
      request,
      random,
    );
    const opened = await keys.csp.opening.open(request);
    const bytes = [...request.map((item) => sp.csp.encode(item)), sp.own.key.encode(answer)];
    seen.push({
      opened: [
        ...unpack(elementAt(opened, 0), featureSlots.bits, features.length),
        crossTermOf(opened),
      ],
      cspShare,
      answer: elementAt(await keys.own.opening.open([answer]), 0),
      providerShare: await acceptScore(sp, model, pending, answer),
      bytes: Buffer.concat(bytes),
    });
  }
  return seen;
}

const crossTermOf = (opened: readonly bigint[]) =>
  elementAt(opened, plan.crossTerm.plaintext) >> BigInt(plan.crossTerm.shift);

const MARGIN = marginOf(2 * SCORES);

const FIELDS: Readonly<Record<string, Look<View>>> = {
  'the slots that the CSP opens': ({ opened }) => shapesOf(opened),
  "the CSP's share of the comparison": ({ cspShare }) => shapesOf([cspShare]),
  'what the service provider opens': ({ answer }) => shapesOf([answer]),
  "the service provider's share of the comparison": ({ providerShare }) =>
    shapesOf([providerShare]),
  'the bytes of request and answer': ({ bytes }) => histogramOf(bytes),
  'the bytes in their places': ({ bytes }) => [...bytes],
};

describe('two patients with the same levels and other vital signs', () => {
  let left: View[];
  let right: View[];
  beforeAll(async () => {
    [left, right] = [await views(HEIGHTS[0]), await views(HEIGHTS[1])];
  });

  it.each(Object.entries(FIELDS))('are told apart no better than by a coin: %s', (_, look) => {
    expect(Math.abs(accuracy(left, right, look) - 0.5)).toBeLessThan(MARGIN);
  });

  it('have shares that are uniform by themselves, each', () => {
    for (const seen of [left, right]) {
      const shares = seen.map(({ cspShare }) => [cspShare]);
      expect(suspicions(shares, field.order, 1e-6)).toEqual([]);
      const slots = seen.map(({ opened }) => opened.slice(0, features.length));
      // A slot is a feature and a mask of one bit less than the slot has.
      expect(suspicions(slots, 1n << BigInt(featureSlots.bits - 1), 1e-6)).toEqual([]);
    }
  });

  it('are the same to who sees levels alone', () => {
    const vOf = valuesAbout(0n);
    for (const height of HEIGHTS) {
      const of = valuesAbout(height);
      for (const step of COURSE) {
        expect(of(height + step)).toBe(vOf(step));
        expect(of(height + step) > 0n).toBe(false);
      }
    }
  });
});

describe('the same two patients, played by broken parties', () => {
  const phi = (reading: bigint) => [reading, reading * reading];
  const readings = (height: bigint) =>
    Array.from({ length: SCORES }, (_, i) => height + elementAt(COURSE, i % 5));

  /** What the CSP opens of a sample under given masks: through encryption, as it would travel. */
  async function openedUnder(masks: () => readonly bigint[], height: bigint): Promise<bigint[][]> {
    const { csp } = await made;
    const sent = readings(height).map((reading) => {
      const drawn = masks();
      const slots = phi(reading).map((feature, i) => feature + (drawn[i] ?? 0n));
      return pack(slots, featureSlots.bits);
    });
    const encrypted: AdditiveCiphertext[] = await csp.key.encrypt(sent, random);
    const opened = await csp.opening.open(encrypted);
    return opened.map((plaintext) => unpack(plaintext, featureSlots.bits, features.length));
  }
  const fresh = () => features.map(() => uniformBits(featureSlots.bits - 1, random));

  it('are told apart each time without masks, and never better than by chance with fresh ones', async () => {
    const run = async (masks: () => readonly bigint[]) =>
      accuracy(
        await openedUnder(masks, HEIGHTS[0]),
        await openedUnder(masks, HEIGHTS[1]),
        (slots) => shapesOf(slots),
      );
    expect(await run(() => [])).toBe(1);
    expect(Math.abs((await run(fresh)) - 0.5)).toBeLessThan(MARGIN);
  });

  it('are told apart each time where a mask is used again: differences are free of it', async () => {
    const mask = fresh();
    // Against the first of all that was opened.
    const run = async (masks: () => readonly bigint[]) => {
      const [left, right] = [
        await openedUnder(masks, HEIGHTS[0]),
        await openedUnder(masks, HEIGHTS[1]),
      ];
      const [first = []] = left;
      const difference = (slots: readonly bigint[]) =>
        slots.map((slot, i) => Number(slot - (first[i] ?? 0n)));
      return accuracy(left, right, difference);
    };
    expect(await run(() => mask)).toBe(1);
    expect(Math.abs((await run(fresh)) - 0.5)).toBeLessThan(MARGIN);
  });

  it('whose magnitude is shown, times a random factor, are told apart by its length in bits', () => {
    // The same level, one close to its baseline and one far out below the threshold.
    const of = valuesAbout(HEIGHTS[0]);
    const [close, far] = [of(HEIGHTS[0]), of(HEIGHTS[0] + 6n)];
    expect([close, far].map((v) => v > 0n)).toEqual([false, false]);
    const shown = (v: bigint) =>
      Array.from({ length: SCORES }, () => -v * (1n + uniformBits(8, random)));
    const length = (value: bigint) => [bitLength(value)];
    expect(accuracy(shown(close), shown(far), length)).toBeGreaterThan(0.5 + 2 * MARGIN);
    // A share of the same values, as the CSP has it in the real comparison.
    const share = (v: bigint) =>
      shown(v).map(() => {
        const mask = uniformBits(field.bits + 64, random) % field.order;
        return (((v - mask) % field.order) + field.order) % field.order;
      });
    expect(Math.abs(accuracy(share(close), share(far), length) - 0.5)).toBeLessThan(MARGIN);
  });
});

/** `v_T` of a reading against the window about a height, in whole numbers. */
function valuesAbout(height: bigint): (reading: bigint) => bigint {
  const window = COURSE.map((step) => height + step);
  const n = BigInt(window.length);
  const sum = window.reduce((total, x) => total + x, 0n);
  const corner = window.reduce((total, x) => total + x * x, n - 1n);
  const det = n * corner - sum * sum;
  const { numerator, determinant } = levelFactors(window.length, THRESHOLD);
  return (x) => numerator * (corner - 2n * sum * x + n * x * x) - determinant * det;
}
