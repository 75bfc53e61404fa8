/**
 * Two patients whose levels are the same, but neither their vital signs nor how far these vary. Whole
 * sessions are played again and again: training, one score with level output, and its comparison. From
 * what each server opens or is sent, and from the rows that the service provider keeps, a classifier is to
 * tell whose session it was.
 */
import { invertMatrix } from '@duoveil/common/field';
import { pack, packingPlan, unpack } from '@duoveil/common/encoding';
import { elementAt } from '@duoveil/common/lists';
import type { AdditiveCiphertext } from '@duoveil/common/paillier';
import {
  acceptLevel,
  acceptTransfers,
  chooseTransfers,
  drawDelta,
  evaluateComparison,
  garbleComparison,
  offerTransfers,
  requestComparison,
  type ExtensionReceiver,
  type ExtensionSender,
} from '@duoveil/common/protocols/compare';
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
  type CoefficientMasks,
} from '@duoveil/common/protocols/packed';
import { uniformBits, type RandomSource } from '@duoveil/common/random';
import { Secret } from '@duoveil/common/secret';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Models } from '../../../csp/src/keys/models.js';
import { encodePackedModel } from '../../../service-provider/src/monitor/packed-model.js';
import { packCiphertexts } from '../../../service-provider/src/store/index.js';
import { packedKeys } from '../../src/local/packed.js';
import { SeededRandom } from '../../src/local/randomness.js';
import { schemaOfBits } from '../../src/local/schemas.js';
import { accuracy, histogramOf, marginOf, shapesOf, type Look } from './classifier.js';
import { engine } from './support.js';

const random = new SeededRandom('attacks/session distinguisher');
const made = packedKeys(512, engine, random);
afterAll(() => engine.close());

const SESSIONS = 100;
const MARGIN = marginOf(2 * SESSIONS);
const schema = schemaOfBits(16);
const THRESHOLDS = [400_000n, 40_000_000n];
const plan = packingPlan(schema, 5, 512, THRESHOLDS);
const { features, featureSlots, matrixSlots, field } = plan;

/** A patient's window and sample: the same course, on another height and more or less pronounced. */
interface Patient {
  readonly window: readonly bigint[];
  readonly sample: bigint;
}
const patientOf = (height: bigint, scale: bigint): Patient => ({
  window: [0n, 3n, -2n, 1n, -3n].map((step) => height + scale * step),
  sample: height + scale,
});
const CALM = patientOf(2_000n, 20n);
const RESTLESS = patientOf(60_001n, 900n);

/** Who draws what in a session. */
type Draws = (step: string) => RandomSource;

/** Everything of one session that somebody but the gateway has. */
interface Session {
  /** What the CSP opens, by slots. */
  readonly sums: readonly bigint[];
  readonly matrix: readonly bigint[];
  readonly cspShare: CoefficientMasks;
  /** What the service provider keeps and opens. */
  readonly ownShare: CoefficientMasks;
  readonly answer: bigint;
  readonly shares: readonly bigint[];
  /** Messages of training both ways, of the score, and of the comparison. */
  readonly training: Buffer;
  readonly score: Buffer;
  readonly labels: Buffer;
  readonly circuit: Buffer;
  readonly colours: readonly boolean[];
  /** Rows of the service provider's database. */
  readonly sampleRow: Buffer;
  readonly modelRow: Buffer;
  readonly level: number;
}

let transfers: { readonly sender: ExtensionSender; readonly receiver: ExtensionReceiver };
const models = new Models(new Secret(random.bytes(32)), 512, 'a digest');
const binding = { keyId: 'ab'.repeat(32), provider: 'spiffe://test.internal/sp', number: 1 };

/** A session from the first sample to the level. */
async function play(patient: Patient, draw: Draws, instance: number): Promise<Session> {
  const keys = await made;
  const sp = { plan, patient: keys.key, csp: keys.csp.key, own: keys.own };
  const csp = { plan, own: keys.csp };
  const toCsp = (list: readonly AdditiveCiphertext[]) =>
    Buffer.concat(list.map((item) => sp.csp.encode(item)));
  const toSp = (list: readonly AdditiveCiphertext[]) =>
    Buffer.concat(list.map((item) => sp.own.key.encode(item)));

  const readings = [...patient.window, patient.sample].map((reading) => [reading]);
  const encrypted = await encryptSamples(plan, keys.key, readings, draw('gateway'));
  const window = encrypted.slice(0, -1);
  const sample = elementAt(encrypted, window.length);
  const sums = await keys.bcp.sums(
    Array.from({ length: plan.plaintexts }, (_, i) => window.map((list) => elementAt(list, i))),
  );

  const first = await maskSums(sp, sums, draw('sums'));
  const rows = await shareGram(csp, first.openings, draw('rows'));
  const second = await maskGram(sp, [1n], first.masks, rows, draw('matrix'));
  const inverse = await invertGram(csp, second.matrix, draw('inverse'));
  const third = await maskCoefficients(sp, second.mask, inverse, draw('coefficients'));
  const { columns, determinant } = third.coefficients;
  const own = await encryptProviderShare(keys.own.key, third.share, draw('share'), plan);
  const kept = await keepCoefficients(csp, third.coefficients, draw('cross terms'));
  const shape = { schema, window: plan.window, thresholds: THRESHOLDS };
  const sealedShare = models.seal(binding, shape, kept.share, draw('sealing'));

  const model = { share: third.share, crossTerms: keepCrossTerms(sp, kept.crossTerms) };
  const held = { share: kept.share, providerShare: keepProviderShare(plan, keys.provider, own) };
  const prepared = await prepareScore(sp, model, draw('preparation'));
  const { request, pending } = requestScore(sp, sample, prepared);
  const scored = await answerScore(csp, keys.provider, held, request, draw('answer'));
  const numerator = await acceptScore(sp, model, pending, scored.answer);
  const cspShares = { numerator: scored.share, determinant: kept.share.determinant };
  const asked = requestComparison(transfers.receiver, plan, cspShares, instance);
  const { garbled, outputMasks } = garbleComparison(
    transfers.sender,
    plan,
    { numerator, determinant: -third.share.determinant },
    asked.message,
    instance,
    draw('garbling'),
  );
  const colours = evaluateComparison(asked.pending, garbled);

  const openings = first.openings.map(({ b }) => b as AdditiveCiphertext);
  const opened = await keys.csp.opening.open([...openings, ...second.matrix.flat()]);
  return {
    sums: unpack(elementAt(opened, 0), featureSlots.bits, features.length),
    matrix: opened
      .slice(openings.length)
      .flatMap((plaintext) => unpack(plaintext, matrixSlots.bits, 1)),
    cspShare: kept.share,
    ownShare: third.share,
    answer: elementAt(await keys.own.opening.open([scored.answer]), 0),
    shares: [numerator, scored.share],
    training: Buffer.concat([
      toCsp([...openings, ...rows.flat(), ...second.matrix.flat(), ...inverse.columns.flat()]),
      toCsp([...columns.flat(), ...kept.crossTerms]),
      toCsp([inverse.determinant, determinant].flatMap((item) => item ?? [])),
      toSp(own),
      sealedShare,
    ]),
    score: Buffer.concat([toCsp(request), toSp([scored.answer])]),
    labels: Buffer.from(asked.message),
    circuit: Buffer.concat([garbled.hashKey, garbled.tables]),
    colours,
    sampleRow: packCiphertexts(sample, keys.bcp.parameters),
    modelRow: encodePackedModel(
      { share: third.share, crossTerms: kept.crossTerms, sealedShare, sums },
      sp.csp,
      keys.bcp.parameters,
    ),
    level: acceptLevel(colours, outputMasks),
  };
}

const valuesOf = ({ constant, features: list, determinant }: CoefficientMasks) => [
  constant,
  ...list,
  determinant,
];

const inPlaces = (bytes: Uint8Array) => [...bytes];

const FIELDS: Readonly<Record<string, Look<Session>>> = {
  'the sums that the CSP opens': ({ sums }) => shapesOf(sums),
  'the matrix that the CSP opens': ({ matrix }) => shapesOf(matrix),
  'the same modulo P': ({ matrix }) => shapesOf(matrix.map((entry) => entry % field.order)),
  "the CSP's share of the model": ({ cspShare }) => shapesOf(valuesOf(cspShare)),
  "the service provider's share of the model": ({ ownShare }) => shapesOf(valuesOf(ownShare)),
  'what the service provider opens': ({ answer }) => shapesOf([answer]),
  'both shares of the comparison, each by itself': ({ shares }) => shapesOf(shares),
  'the bytes of training': ({ training }) => histogramOf(training),
  'the bytes of training in their places': ({ training }) => inPlaces(training),
  'the bytes of the score in their places': ({ score }) => inPlaces(score),
  'the labels of the comparison in their places': ({ labels }) => inPlaces(labels),
  'the garbled circuit in its places': ({ circuit }) => inPlaces(circuit),
  'the garbled circuit': ({ circuit }) => histogramOf(circuit),
  'the row of a sample': ({ sampleRow }) => inPlaces(sampleRow),
  'the row of a model': ({ modelRow }) => histogramOf(modelRow),
};

/** So many sessions of one patient. */
async function sessionsOf(
  patient: Patient,
  draw: Draws,
  count: number,
  instance: (i: number) => number,
): Promise<Session[]> {
  const sessions: Session[] = [];
  for (let i = 0; i < count; i++) sessions.push(await play(patient, draw, instance(i)));
  return sessions;
}

/** Bytes that are given, then zeros: what is drawn from it is no mask. */
function noRandomness(...lowest: number[]): RandomSource {
  return {
    bytes: (length) => {
      const bytes = new Uint8Array(length);
      bytes[length - 1] = lowest.shift() ?? 0;
      return bytes;
    },
  };
}

let calm: Session[];
let restless: Session[];
beforeAll(async () => {
  const offered = offerTransfers(random);
  const { delta, choices } = drawDelta(random);
  const chosen = await chooseTransfers(offered.message, choices, random);
  transfers = {
    sender: { delta, keys: chosen.keys },
    receiver: { keys: await acceptTransfers(offered, chosen.message) },
  };
  const fresh: Draws = () => random;
  calm = await sessionsOf(CALM, fresh, SESSIONS, (i) => 1 + i);
  restless = await sessionsOf(RESTLESS, fresh, SESSIONS, (i) => 1 + SESSIONS + i);
}, 60_000);

describe('whole sessions of two patients with the same level and other vital signs', () => {
  it('come to the same level, each time', () => {
    const levels = [...calm, ...restless].map(({ level }) => level);
    expect(new Set(levels)).toEqual(new Set([0]));
  });

  it.each(Object.entries(FIELDS))('are told apart no better than by a coin: %s', (_, look) => {
    expect(Math.abs(accuracy(calm, restless, look) - 0.5)).toBeLessThan(MARGIN);
  });

  it('have colours that are a coin each', () => {
    for (const sessions of [calm, restless]) {
      for (const output of [0, 1]) {
        const heads = sessions.filter(({ colours }) => colours[output]).length;
        expect(Math.abs(heads / SESSIONS - 0.5)).toBeLessThan(marginOf(SESSIONS));
      }
    }
  });
});

describe('the same sessions, played by broken parties', () => {
  it('are told apart each time by every field where randomness is used again', async () => {
    const again: Draws = (step) => new SeededRandom(`the same each time/${step}`);
    const [left, right] = [
      await sessionsOf(CALM, again, 4, () => 1),
      await sessionsOf(RESTLESS, again, 4, () => 1),
    ];
    expect([...left, ...right].map(({ level }) => level)).toEqual(Array(8).fill(0));
    const told = Object.entries(FIELDS).filter(([, look]) => accuracy(left, right, look) === 1);
    // The service provider's own share is nothing but its own draws.
    expect(Object.keys(FIELDS).filter((name) => !told.some(([found]) => found === name))).toEqual([
      "the service provider's share of the model",
    ]);
  });

  it('are told apart each time by what the CSP opens where it is not masked', async () => {
    // Draws below P are the upper bits of their bytes.
    const [one, zero] = [1 << ((8 - (field.bits % 8)) % 8), 0];
    const bare: Draws = (step) => {
      if (step === 'sums' || step === 'coefficients') return noRandomness();
      // R = 1, and no multiples of P.
      return step === 'matrix' ? noRandomness(one, zero, zero, one) : random;
    };
    const [left, right] = [
      await sessionsOf(CALM, bare, 6, (i) => 900 + i),
      await sessionsOf(RESTLESS, bare, 6, (i) => 906 + i),
    ];
    const opened = [
      'the sums that the CSP opens',
      'the matrix that the CSP opens',
      'the same modulo P',
      "the CSP's share of the model",
    ];
    for (const name of opened) {
      expect(accuracy(left, right, FIELDS[name] ?? (() => []))).toBe(1);
    }
    const total = CALM.window.reduce((sum, reading) => sum + reading, 0n);
    expect(left.every(({ sums }) => sums[0] === total)).toBe(true);
  });

  it('are told apart by the length of the determinant where it is shown times a random factor', () => {
    const determinantOf = ({ window }: Patient) => {
      const n = BigInt(window.length);
      const sum = window.reduce((total, x) => total + x, 0n);
      const corner = window.reduce((total, x) => total + x * x, n - 1n);
      return n * corner - sum * sum;
    };
    const shown = (patient: Patient) =>
      Array.from(
        { length: SESSIONS },
        () => determinantOf(patient) * (1n + uniformBits(8, random)),
      );
    const [left, right] = [shown(CALM), shown(RESTLESS)];
    expect(accuracy(left, right, (value) => shapesOf([value]))).toBeGreaterThan(0.5 + 2 * MARGIN);
    // What the CSP has in its place, from the matrix that it opens: the determinant of R·Q.
    const masked = ({ matrix }: Session) => {
      const [a = 0n, b = 0n, c = 0n, d = 0n] = matrix.map((entry) => entry % field.order);
      const found = invertMatrix(
        [
          [a, b],
          [c, d],
        ],
        field.order,
      );
      return shapesOf([found?.determinant ?? 0n]);
    };
    expect(Math.abs(accuracy(calm, restless, masked) - 0.5)).toBeLessThan(MARGIN);
  });

  it('are told apart each time by rows that are written as they are, or encrypted with randomness that comes again', async () => {
    const bare = ({ window, sample }: Patient) =>
      Array.from({ length: 6 }, () =>
        Buffer.from(
          pack([...window, sample], 32)
            .toString(16)
            .padStart(48, '0'),
          'hex',
        ),
      );
    expect(accuracy(bare(CALM), bare(RESTLESS), inPlaces)).toBe(1);
    const { key, bcp } = await made;
    const rows = async ({ sample }: Patient) => {
      const list: Buffer[] = [];
      for (let i = 0; i < 6; i++) {
        const again = new SeededRandom('a gateway that starts over');
        const [encrypted = []] = await encryptSamples(plan, key, [[sample]], again);
        list.push(packCiphertexts(encrypted, bcp.parameters));
      }
      return list;
    };
    expect(accuracy(await rows(CALM), await rows(RESTLESS), inPlaces)).toBe(1);
  });
});
