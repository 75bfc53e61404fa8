/**
 * What either server opens in the packed suite says nothing: every value is uniform over its range,
 * but for a distance of `2^-64` (`packing-plan.test.ts` computes it), whatever the patient's data are;
 * and ciphertexts' randomness does not show what was combined to who knows the factors. Each statistic
 * is shown to catch the protocols themselves, run with masks that are missing, short or repeated.
 *
 * Seeds are fixed, so that nothing here fails by chance; over all seeds a false alarm of this whole
 * file has a probability below 1e-9.
 */
import { afterAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../../../harness/src/local/engine.js';
import {
  encryptPacked,
  packedKeys,
  packedRoles,
  type PackedKeys,
  type PackedModelHalves,
  type PackedRoles,
} from '../../../../harness/src/local/packed.js';
import { SeededRandom } from '../../../../harness/src/local/randomness.js';
import { schemaOfBits } from '../../../../harness/src/local/schemas.js';
import { PUBLIC_PROVIDER_PRIMES } from '../../../../harness/src/local/test-primes.js';
import { suspicions } from '../../../../harness/src/statistics.js';
import {
  featureValues,
  packingPlan,
  unpack,
  type PackingPlan,
} from '../../encoding/packing-plan.js';
import { elementAt } from '../../lists.js';
import { CrtOpening, type AdditiveCiphertext } from '../../paillier/index.js';
import { bytesFromInteger, uniformBelow, type RandomSource } from '../../random.js';
import { Secret } from '../../secret.js';
import { innerProduct, modulo } from './roles.js';
import {
  acceptScore,
  answerScore,
  encryptProviderShare,
  freshZero,
  keepCrossTerms,
  keepProviderShare,
  prepareScore,
  requestScore,
} from './score.js';
import {
  invertGram,
  keepCoefficients,
  maskCoefficients,
  maskGram,
  maskSums,
  shareGram,
} from './train.js';

const LONG = process.env['DUOVEIL_LONG_TESTS'] === '1';
const CALLS = LONG ? 3000 : 340;

/** Of one series of calls; there are fewer than 50 honest ones below. */
const SIGNIFICANCE = 1e-11;

const engine = testEngine();
afterAll(() => engine.close());

/** Opens, and keeps what it opened, a list a call: all that the owner of a key ever sees. */
class WatchedOpening extends CrtOpening {
  readonly calls: bigint[][] = [];

  override async open(values: readonly bigint[]): Promise<bigint[]> {
    const opened = await super.open(values);
    this.calls.push(opened);
    return opened;
  }
}

const schema = schemaOfBits(8);
const WINDOW = 3;
const made: Promise<PackedKeys> = packedKeys(512, engine, new SeededRandom('uniformity/packed'));

async function stage(): Promise<PackedRoles & { csps: WatchedOpening; sps: WatchedOpening }> {
  const keys = await made;
  const roles = packedRoles(keys, schema, WINDOW);
  const [p, q] = PUBLIC_PROVIDER_PRIMES[512];
  const csps = new WatchedOpening(keys.master.factors, engine);
  const sps = new WatchedOpening(new Secret({ p, q }), engine);
  return {
    ...roles,
    sp: { ...roles.sp, own: { ...roles.sp.own, opening: sps } },
    csp: { ...roles.csp, own: { ...roles.csp.own, opening: csps } },
    csps,
    sps,
  };
}

/** What happens to the draws of one step, by their position: a mask that is not as it should be. */
type Spoiler = (index: number, fresh: Uint8Array) => Uint8Array;

const honest: Spoiler = (_, fresh) => fresh;

/** The source of one step of one call. */
function spoiled(random: RandomSource, spoiler: Spoiler): RandomSource {
  let index = 0;
  return { bytes: (length) => spoiler(index++, random.bytes(length)) };
}

const within = (from: number, count: number, index: number) =>
  index >= from && index < from + count;

/** Draws that are all 0: no mask. */
const missing =
  (from: number, count: number): Spoiler =>
  (index, fresh) =>
    within(from, count, index) ? new Uint8Array(fresh.length) : fresh;

/** Draws that lack their top bits. */
const short =
  (from: number, count: number): Spoiler =>
  (index, fresh) => {
    if (!within(from, count, index)) return fresh;
    const bytes = Uint8Array.from(fresh);
    bytes[0] = 0;
    return bytes;
  };

/** Draws that lack the upper half of their bits. */
const halved =
  (from: number, count: number): Spoiler =>
  (index, fresh) =>
    within(from, count, index) ? Uint8Array.from(fresh).fill(0, 0, fresh.length / 2) : fresh;

/** Draws that are the same in every call. */
const repeated = (from: number, count: number): Spoiler => {
  const kept = new Map<number, Uint8Array>();
  return (index, fresh) => {
    if (!within(from, count, index)) return fresh;
    const first = kept.get(index) ?? fresh;
    kept.set(index, first);
    return first;
  };
};

const bytesOf = (value: bigint, bits: number) => {
  const length = Math.ceil(bits / 8);
  return Uint8Array.from(bytesFromInteger(value << BigInt(8 * length - bits), length));
};

/** Training, again and again, each step with randomness of its own. */
interface TrainingSpoilers {
  readonly sums?: Spoiler;
  readonly gram?: Spoiler;
  readonly coefficients?: Spoiler;
}

async function watchTraining(window: readonly bigint[], spoilers: TrainingSpoilers, seed: string) {
  const { plan, floors, sp, csp, csps, keys } = await stage();
  const random = new SeededRandom(seed);
  const roles = packedRoles(keys, schema, WINDOW);
  const encrypted = await encryptPacked(
    roles,
    window.map((x) => [x]),
    random,
  );
  const sums = await keys.bcp.sums(
    Array.from({ length: plan.plaintexts }, (_, i) => encrypted.map((list) => elementAt(list, i))),
  );
  for (let call = 0; call < CALLS; call++) {
    const first = await maskSums(sp, sums, spoiled(random, spoilers.sums ?? honest));
    const rows = await shareGram(csp, first.openings, random);
    const source = spoiled(random, spoilers.gram ?? honest);
    const second = await maskGram(sp, floors, first.masks, rows, source);
    const inverse = await invertGram(csp, second.matrix, random);
    const third = await maskCoefficients(
      sp,
      second.mask,
      inverse,
      spoiled(random, spoilers.coefficients ?? honest),
    );
    await keepCoefficients(csp, third.coefficients, random);
  }
  expect(csps.calls).toHaveLength(3 * CALLS);
  return { plan, ...seenInTraining(plan, csps.calls) };
}

/** The CSP's three openings of each training, as series with the range that each should fill. */
function seenInTraining(plan: PackingPlan, calls: readonly (readonly bigint[])[]) {
  const P = plan.field.order;
  const step = (which: number) => calls.filter((_, i) => i % 3 === which);
  const sums = step(0).map((opened) =>
    unpack(elementAt(opened, 0), plan.featureSlots.bits, plan.features.length),
  );
  // One slot a plaintext at this size: what is opened is an entry.
  expect([plan.matrixSlots.perPlaintext, plan.coefficientSlots.perPlaintext]).toEqual([1, 1]);
  const ratio = (x: bigint, y: bigint) => (x * power(y, P - 2n, P)) % P;
  const residues = step(1).map((matrix, i) => {
    const [a = 0n, b = 0n, c = 0n, d = 0n] = matrix.map((entry) => entry % P);
    const coefficients = elementAt(step(2), i).map((entry) => entry % P);
    // What a bad R leaves constant: the ratios along rows and columns.
    return [a, b, c, d, ratio(a, b), ratio(c, d), ratio(a, c), ratio(b, d), ...coefficients];
  });
  return {
    sums: suspicions(sums, 1n << BigInt(plan.featureSlots.bits - 1), SIGNIFICANCE),
    residues: suspicions(residues, P, SIGNIFICANCE),
    matrixQuotients: quotients(step(1), plan.matrixQuotientBits, plan),
    coefficientQuotients: quotients(step(2), plan.coefficientQuotientBits, plan),
    raw: { sums },
  };
}

function quotients(calls: readonly (readonly bigint[])[], bits: number, { field }: PackingPlan) {
  const series = calls.map((opened) => opened.map((value) => value / field.order));
  return suspicions(series, 1n << BigInt(bits + 64), SIGNIFICANCE);
}

function power(base: bigint, exponent: bigint, m: bigint): bigint {
  let [result, square, rest] = [1n, base % m, exponent];
  for (; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % m;
    square = (square * square) % m;
  }
  return result;
}

const nothing = { sums: [], residues: [], matrixQuotients: [], coefficientQuotients: [] };

describe('what the CSP opens in training', () => {
  it.each([
    { name: 'nothing but zeros', window: [0n, 0n, 0n] },
    { name: 'nothing but the greatest values', window: [255n, 255n, 255n] },
    { name: 'both ends', window: [0n, 255n, 0n] },
  ])('is uniform and independent: $name', async ({ name, window }) => {
    expect(await watchTraining(window, {}, name)).toMatchObject(nothing);
  });

  const T = 2;
  const SIZE = 2;
  const identity: Spoiler = (index, fresh) =>
    index < SIZE * SIZE ? bytesOf(index % 3 === 0 ? 1n : 0n, 221) : fresh;
  const diagonal: Spoiler = (index, fresh) =>
    index === 1 || index === 2 ? new Uint8Array(fresh.length) : fresh;

  /** R is drawn first, then a multiple of P for each entry; τ first, then as many multiples. */
  const R = SIZE * SIZE;
  const TAU = 3;
  const both =
    (first: Spoiler, second: Spoiler): Spoiler =>
    (index, fresh) =>
      second(index, first(index, fresh));

  const broken: readonly (readonly [
    string,
    Required<TrainingSpoilers>,
    Readonly<Record<keyof typeof nothing, readonly string[]>>,
  ])[] = [
    [
      'no masks: sums as they are, R the identity, no τ, no multiples of P',
      {
        sums: missing(0, T),
        gram: both(identity, missing(R, R)),
        coefficients: missing(0, 2 * TAU),
      },
      {
        sums: ['column 0: top bits', 'column 1: top bits', 'repetition'],
        residues: ['column 0: top bits', 'column 8: top bits', 'repetition'],
        matrixQuotients: ['column 0: top bits', 'column 3: top bits'],
        coefficientQuotients: ['column 0: top bits', 'column 2: top bits'],
      },
    ],
    [
      'one mask of several: of a sum, beside the diagonal of R, of a coefficient, of an entry',
      {
        sums: missing(1, 1),
        gram: both(diagonal, missing(R + 1, 1)),
        coefficients: both(missing(TAU - 1, 1), missing(TAU, 1)),
      },
      {
        sums: ['column 1: top bits'],
        // Every entry alone is uniform: the ratios within the rows give R away.
        residues: ['column 4: top bits', 'column 10: top bits'],
        matrixQuotients: ['column 1: top bits'],
        coefficientQuotients: ['column 0: top bits'],
      },
    ],
    [
      'masks that are too short, R by half',
      {
        sums: short(0, T),
        gram: both(halved(0, R), short(R, R)),
        coefficients: short(0, 2 * TAU),
      },
      {
        sums: ['column 0: top bits', 'column 1: top bits'],
        residues: ['column 0: top bits', 'column 8: top bits'],
        matrixQuotients: ['column 0: top bits'],
        coefficientQuotients: ['column 1: top bits'],
      },
    ],
    [
      'the masks of the call before',
      { sums: repeated(0, T), gram: repeated(0, 2 * R), coefficients: repeated(0, 2 * TAU) },
      {
        sums: ['repetition', 'calls, column 0: difference'],
        residues: ['repetition', 'column 3: top bits', 'column 9: top bits'],
        matrixQuotients: ['column 0: top bits'],
        coefficientQuotients: ['column 0: top bits'],
      },
    ],
  ];

  it.each(broken)('is noticed: %s', async (name, spoilers, noticed) => {
    const found = await watchTraining([0n, 255n, 7n], spoilers, name);
    for (const [series, statistics] of Object.entries(noticed)) {
      expect(found[series as keyof typeof nothing]).toEqual(
        expect.arrayContaining([...statistics]),
      );
    }
  });
});

/** A model of any coefficients, shared as training shares them. */
async function modelOf(
  { plan, sp, keys, csp }: PackedRoles,
  constant: bigint,
  theta: readonly bigint[],
  random: RandomSource,
): Promise<PackedModelHalves & { share: AdditiveCiphertext[]; cross: AdditiveCiphertext[] }> {
  const P = plan.field.order;
  const tau = {
    constant: uniformBelow(P, random),
    features: theta.map(() => uniformBelow(P, random)),
    determinant: 0n,
  };
  const hidden = {
    constant: modulo(constant + tau.constant, P),
    features: theta.map((value, i) => modulo(value + elementAt(tau.features, i), P)),
    determinant: 0n,
  };
  const cross = await csp.own.key.encrypt(
    hidden.features.map((value) => value << BigInt(plan.crossTerm.shift)),
    random,
  );
  const share = await encryptProviderShare(sp.own.key, tau, random, plan);
  return {
    share,
    cross,
    sp: { share: tau, crossTerms: keepCrossTerms(sp, cross) },
    csp: { share: hidden, providerShare: keepProviderShare(plan, keys.provider, share) },
  };
}

/** Draws of the service provider in a score: a mask a feature, μ, the multiple of P, rerandomisers. */
const SIGMA = 0;
const MU = 2;
const MULTIPLE = 3;
const ZEROS = 4;
/** Draws of the CSP in a score: the rerandomiser, the multiple of P. */
const ANSWER_ZERO = 0;
const ANSWER_MULTIPLE = 1;

interface ScoreSpoilers {
  readonly sp?: Spoiler;
  readonly csp?: Spoiler;
}

/** One sample, scored again and again, with everything that either server opens. */
async function watchScoring(
  model: { readonly constant: bigint; readonly theta: readonly bigint[] },
  sample: bigint,
  spoilers: ScoreSpoilers,
  seed: string,
) {
  const roles = await stage();
  const { plan, sp, csp, csps, sps, keys } = roles;
  const P = plan.field.order;
  const random = new SeededRandom(seed);
  const shared = await modelOf(roles, model.constant, model.theta, random);
  const [encrypted = []] = await encryptPacked(roles, [[sample]], random);
  const leverages: bigint[] = [];
  const simulated: bigint[] = [];
  for (let call = 0; call < CALLS; call++) {
    const source = spoiled(random, spoilers.sp ?? honest);
    const prepared = await prepareScore(sp, shared.sp, source);
    const { request, pending } = requestScore(sp, encrypted, prepared);
    const drawn = spoiled(random, spoilers.csp ?? honest);
    const { answer } = await answerScore(csp, keys.provider, shared.csp, request, drawn);
    const leverage = await acceptScore(sp, shared.sp, pending, answer);
    leverages.push(leverage);
    const { constant, features } = shared.sp.share;
    const ownView = pending.crossTermMask + innerProduct(features, pending.featureMasks) - constant;
    simulated.push(modulo(ownView - leverage, P));
  }
  // The cross term has a plaintext of its own here.
  expect(plan.crossTerm).toEqual({ plaintext: 1, shift: 0 });
  const features = csps.calls.map((opened) =>
    unpack(elementAt(opened, 0), plan.featureSlots.bits, 2),
  );
  const crossTerms = csps.calls.map((opened) => [elementAt(opened, 1)]);
  const answers = sps.calls.map((opened) => elementAt(opened, 0));
  const room = sp.own.key.modulus - (1n << BigInt(plan.answerBits));
  return {
    leverages,
    simulated,
    answers,
    P,
    raw: features,
    features: suspicions(features, 1n << BigInt(plan.featureSlots.bits - 1), SIGNIFICANCE),
    crossResidues: suspicions(
      crossTerms.map(([e = 0n]) => [e % P]),
      P,
      SIGNIFICANCE,
    ),
    crossQuotients: quotients(crossTerms, plan.crossTermQuotientBits, plan),
    answerQuotients: suspicions(
      answers.map((w) => [w / P]),
      room / P,
      SIGNIFICANCE,
    ),
  };
}

const unseen = { features: [], crossResidues: [], crossQuotients: [], answerQuotients: [] };
const flat = { constant: 12345n, theta: [678n, 9n] };

describe('what the servers open in scoring', () => {
  it.each([
    { name: 'the smallest sample', sample: 0n, model: flat },
    { name: 'the greatest sample', sample: 255n, model: flat },
    {
      name: 'the greatest coefficients',
      sample: 255n,
      model: { constant: -1n, theta: [-1n, -1n] },
    },
    { name: 'no coefficients', sample: 255n, model: { constant: 0n, theta: [0n, 0n] } },
  ])('is uniform and independent: $name', async ({ name, sample, model }) => {
    const seen = await watchScoring(model, sample, {}, name);
    expect(seen).toMatchObject(unseen);
    const expected = model.constant + innerProduct(model.theta, [sample, sample * sample]);
    expect(new Set(seen.leverages)).toEqual(new Set([modulo(expected, seen.P)]));
  });

  const broken: readonly (readonly [string, ScoreSpoilers, keyof typeof unseen, string])[] = [
    ['features without masks', { sp: missing(SIGMA, 2) }, 'features', 'column 0: top bits'],
    ['one feature without a mask', { sp: missing(SIGMA + 1, 1) }, 'features', 'column 1: top bits'],
    ['features under short masks', { sp: short(SIGMA, 2) }, 'features', 'column 0: top bits'],
    ['features under masks of before', { sp: repeated(SIGMA, 2) }, 'features', 'repetition'],
    ['μ left out', { sp: missing(SIGMA, MU + 1) }, 'crossResidues', 'column 0: top bits'],
    ['μ of before', { sp: repeated(SIGMA, MU + 1) }, 'crossResidues', 'repetition'],
    [
      'the cross term without a multiple of P',
      { sp: missing(MULTIPLE, 1) },
      'crossQuotients',
      'column 0: top bits',
    ],
    [
      'the cross term with a short multiple of P',
      { sp: short(MULTIPLE, 1) },
      'crossQuotients',
      'column 0: top bits',
    ],
    [
      'the cross term with the multiple of before',
      { sp: repeated(MULTIPLE, 1) },
      'crossQuotients',
      'column 0: top bits',
    ],
    [
      'an answer without a multiple of P',
      { csp: missing(ANSWER_MULTIPLE, 1) },
      'answerQuotients',
      'column 0: top bits',
    ],
    [
      'an answer with a short multiple of P',
      { csp: short(ANSWER_MULTIPLE, 1) },
      'answerQuotients',
      'column 0: top bits',
    ],
    [
      'answers with one multiple of P',
      { csp: repeated(ANSWER_MULTIPLE, 1) },
      'answerQuotients',
      'column 0: top bits',
    ],
  ];

  it.each(broken)('is noticed: %s', async (name, spoilers, series, statistic) => {
    const found = await watchScoring(flat, 255n, spoilers, name);
    expect(found[series]).toContain(statistic);
  });

  it('is noticed: μ left out, where the CSP tries what it knows', async () => {
    // With θ̂ and φ̂ it tells of two samples which one it was: E = ⟨θ̂, φ̂ - φ⟩.
    const guessed = async (spoiler: Spoiler, seed: string) => {
      const roles = await stage();
      const { plan, sp, csps, csp, keys } = roles;
      const random = new SeededRandom(seed);
      const model = await modelOf(roles, 5n, [6n, 7n], random);
      const [encrypted = []] = await encryptPacked(roles, [[200n]], random);
      const prepared = await prepareScore(sp, model.sp, spoiled(random, spoiler));
      const { request } = requestScore(sp, encrypted, prepared);
      await answerScore(csp, keys.provider, model.csp, request, random);
      const [features = 0n, cross = 0n] = elementAt(csps.calls, 0);
      const hidden = unpack(features, plan.featureSlots.bits, 2);
      return [10n, 200n].filter((x) => {
        const masks = featureValues(plan.features, [x]).map((f, i) => elementAt(hidden, i) - f);
        const { order } = plan.field;
        return modulo(innerProduct(model.csp.share.features, masks) - cross, order) === 0n;
      });
    };
    expect(await guessed(missing(MU, 1), 'no μ')).toEqual([200n]);
    expect(await guessed(honest, 'with μ')).toEqual([]);
  });

  it('shows the service provider the leverage and nothing else: far samples, other models', async () => {
    // h = 1000 at both ends of one model, and in the middle of quite another.
    const cases = [
      { constant: 1000n, theta: [-255n, 1n], sample: 0n },
      { constant: 1000n, theta: [-255n, 1n], sample: 255n },
      { constant: 1000n - 100n * 77n - 10000n * 13n, theta: [77n, 13n], sample: 100n },
    ];
    for (const [i, { sample, ...model }] of cases.entries()) {
      const seen = await watchScoring(model, sample, {}, `simulated ${i}`);
      expect(new Set(seen.leverages)).toEqual(new Set([1000n]));
      // Modulo P an answer follows from h and the provider's own masks; above, it is uniform.
      expect(seen.answers.map((w) => w % seen.P)).toEqual(seen.simulated);
      expect(seen.answerQuotients).toEqual([]);
    }
  });

  /** For level output the provider's plaintext is uniform as a whole, also for a τ that would show. */
  const watchLevel = async (tau: readonly bigint[], sample: bigint, spoiler: Spoiler) => {
    const roles = await stage();
    const plan = packingPlan(schema, WINDOW, 512, [400_000n]);
    const [sp, csp] = [
      { ...roles.sp, plan },
      { ...roles.csp, plan },
    ];
    const { provider } = roles.keys;
    const random = new SeededRandom(`level/${tau.join()}/${sample}`);
    const model = await modelOf({ ...roles, plan, sp, csp }, 5n, [6n, 7n], random);
    const bad = { constant: 0n, features: tau, determinant: 0n };
    const sent = await encryptProviderShare(sp.own.key, bad, random, plan);
    const dishonest = { ...model.csp, providerShare: keepProviderShare(plan, provider, sent) };
    const [encrypted = []] = await encryptPacked({ ...roles, plan }, [[sample]], random);
    const answers: AdditiveCiphertext[] = [];
    for (let call = 0; call < CALLS; call++) {
      const prepared = await prepareScore(sp, model.sp, random);
      const { request } = requestScore(sp, encrypted, prepared);
      const zero = await freshZero(provider, random);
      const drawn = spoiled(random, spoiler);
      answers.push((await answerScore(csp, provider, dishonest, request, drawn, zero)).answer);
    }
    const opened = await sp.own.opening.open(answers);
    const room = sp.own.key.modulus - (1n << BigInt(plan.answerBits));
    return suspicions(
      opened.map((value) => [value]),
      room,
      SIGNIFICANCE,
    );
  };

  it('is uniform for level output, whatever τ the service provider sent', async () => {
    const P = packingPlan(schema, WINDOW, 512, [400_000n]).field.order;
    expect(await watchLevel([P - 1n, P - 1n], 255n, honest)).toEqual([]);
    expect(await watchLevel([2n, 0n], 0n, honest)).toEqual([]);
  });

  it('is noticed for level output: ν missing, short or repeated', async () => {
    expect(await watchLevel([2n, 0n], 9n, missing(0, 1))).toContain('column 0: top bits');
    expect(await watchLevel([2n, 0n], 9n, short(0, 1))).toContain('column 0: top bits');
    expect(await watchLevel([2n, 0n], 9n, repeated(0, 1000))).toContain('column 0: top bits');
  });

  it('would say something with less hiding: the same distinguisher wins with κ = 1', async () => {
    // A masked value above the range of its mask cannot be that of a zero.
    const beyond = async (lessBits: number, sample: bigint) => {
      const roles = await stage();
      const { bits, perPlaintext } = roles.plan.featureSlots;
      const plan: PackingPlan = {
        ...roles.plan,
        featureSlots: { bits: bits - lessBits, perPlaintext },
      };
      const [sp, csp] = [
        { ...roles.sp, plan },
        { ...roles.csp, plan },
      ];
      const random = new SeededRandom(`kappa/${lessBits}/${sample}`);
      const model = await modelOf({ ...roles, plan }, 1n, [2n, 3n], random);
      const [encrypted = []] = await encryptPacked({ ...roles, plan }, [[sample]], random);
      for (let call = 0; call < CALLS; call++) {
        const prepared = await prepareScore(sp, model.sp, random);
        const { request } = requestScore(sp, encrypted, prepared);
        await answerScore(csp, roles.keys.provider, model.csp, request, random);
      }
      return roles.csps.calls
        .map((opened) => elementAt(unpack(elementAt(opened, 0), plan.featureSlots.bits, 2), 1))
        .filter((value) => value >= 1n << BigInt(plan.featureSlots.bits - 1)).length;
    };
    // 255² over 2^(16 + 2 + 1): one call in eight.
    expect(await beyond(63, 255n)).toBeGreaterThan(5);
    expect(await beyond(63, 0n)).toBe(0);
    expect(await beyond(0, 255n)).toBe(0);
  });
});

describe('rerandomisation', () => {
  /** What a ciphertext shows to the owner of its key beside the message: its residue modulo N. */
  const combination = (bases: readonly bigint[], exponents: readonly bigint[], N: bigint) =>
    bases.reduce((product, base, i) => (product * power(base, elementAt(exponents, i), N)) % N, 1n);

  /** All draws from a position on are 0. */
  const bare = (from: number) => missing(from, 1000);

  it('keeps the CSP from trying sums of the window that it has seen', async () => {
    const traces = async (spoiler: Spoiler) => {
      const { sp, keys } = await stage();
      const random = new SeededRandom('trace/sums');
      const N = keys.bcp.parameters.modulus;
      const sums = await keys.key.encrypt([77n], random);
      const { openings } = await maskSums(sp, sums, spoiled(random, spoiler));
      // 1 is the least exponent that the mask can have.
      return [elementAt(openings, 0).b % N, (elementAt(sums, 0).b * keys.key.publicKey) % N];
    };
    const [sent, known] = await traces(bare(2));
    expect(sent).toBe(known);
    const [hidden, again] = await traces(honest);
    expect(hidden).not.toBe(again);
  });

  it('keeps the CSP from trying Gram matrices on what it answered', async () => {
    /** With a guess of Q the CSP knows R = M·Q⁻¹, and so the exponents of its own ciphertexts. */
    const recognised = async (bareFrom: number | undefined, seed: string) => {
      const { plan, sp, csp, csps, floors, keys } = await stage();
      const random = new SeededRandom(seed);
      const N = keys.bcp.parameters.modulus;
      const window = [3n, 200n, 90n];
      const roles = packedRoles(keys, schema, WINDOW);
      const encrypted = await encryptPacked(
        roles,
        window.map((x) => [x]),
        random,
      );
      const sums = await keys.bcp.sums([encrypted.map((list) => elementAt(list, 0))]);
      const first = await maskSums(sp, sums, random);
      const rows = await shareGram(csp, first.openings, random);
      const spoiler = bareFrom === undefined ? honest : bare(bareFrom);
      const second = await maskGram(sp, floors, first.masks, rows, spoiled(random, spoiler));
      const inverse = await invertGram(csp, second.matrix, random);
      const from = bareFrom === undefined ? honest : bare(6);
      const third = await maskCoefficients(sp, second.mask, inverse, spoiled(random, from));

      const P = plan.field.order;
      const M = elementAt(csps.calls, 1).map((entry) => entry % P);
      const guesses = [window, [3n, 200n, 91n]];
      return guesses.map((guess) => {
        const n = BigInt(guess.length);
        const s = guess.reduce((sum, x) => sum + x);
        const q = guess.reduce((sum, x) => sum + x * x, 0n) + (n - 1n) * elementAt(floors, 0);
        const unit = power(modulo(n * q - s * s, P), P - 2n, P);
        const row = (i: number) => [elementAt(M, 2 * i), elementAt(M, 2 * i + 1)] as const;
        const R = [0, 1].map((i) => {
          const [x, y] = row(i);
          return [modulo((x * q - y * s) * unit, P), modulo((y * n - x * s) * unit, P)];
        });
        const gram = combination(
          rows.map((line) => elementAt(line, 0)),
          elementAt(R, 0),
          N,
        );
        const columns = inverse.columns.map((line) => elementAt(line, 0));
        const coefficients = combination(
          columns,
          R.map((line) => elementAt(line, 0)),
          N,
        );
        return [
          gram === elementAt(elementAt(second.matrix, 0), 0) % N,
          coefficients === elementAt(elementAt(third.coefficients.columns, 0), 0) % N,
        ];
      });
    };
    // R and the multiples of P are 8 draws; τ and the multiples of P are 6.
    expect(await recognised(8, 'trace/bare')).toEqual([
      [true, true],
      [false, false],
    ]);
    expect(await recognised(undefined, 'trace/gram')).toEqual([
      [false, false],
      [false, false],
    ]);
  });

  /** Which of two samples fits what a server sees, where it tries both. */
  const guess = async (spoilers: ScoreSpoilers, seed: string) => {
    const roles = await stage();
    const { plan, sp, csp, csps, keys } = roles;
    const random = new SeededRandom(seed);
    const model = await modelOf(roles, 5n, [6n, 7n], random);
    const [encrypted = []] = await encryptPacked(roles, [[200n]], random);
    const prepared = await prepareScore(sp, model.sp, spoiled(random, spoilers.sp ?? honest));
    const { request, pending } = requestScore(sp, encrypted, prepared);
    const drawn = spoiled(random, spoilers.csp ?? honest);
    const { answer } = await answerScore(csp, keys.provider, model.csp, request, drawn);

    const hidden = unpack(elementAt(elementAt(csps.calls, 0), 0), plan.featureSlots.bits, 2);
    const [N, own] = [keys.bcp.parameters.modulus, sp.own.key.modulus];
    const fits = (test: (features: readonly bigint[]) => boolean) =>
      [10n, 200n].filter((x) => test(featureValues(plan.features, [x])));
    return {
      csp: fits((features) => {
        const masks = features.map((feature, i) => elementAt(hidden, i) - feature);
        return combination(model.cross, masks, N) === elementAt(request, 1) % N;
      }),
      sp: fits((features) => {
        const masked = features.map((feature, i) => feature + elementAt(pending.featureMasks, i));
        return combination(model.share, masked, own) === answer % own;
      }),
      /** The sample's own ciphertext, as the gateway sent it. */
      linked: elementAt(request, 0) % N === elementAt(encrypted, 0).b % N,
    };
  };

  it('keeps either server from trying samples on what it sent itself', async () => {
    expect(await guess({}, 'guess/honest')).toEqual({ csp: [], sp: [], linked: false });
    const bareRequest = await guess({ sp: bare(ZEROS) }, 'guess/request');
    expect(bareRequest).toEqual({ csp: [200n], sp: [], linked: true });
    const bareAnswer = await guess({ csp: missing(ANSWER_ZERO, 1) }, 'guess/answer');
    expect(bareAnswer).toEqual({ csp: [], sp: [200n], linked: false });
  });

  it('never repeats an element, sent or answered, for one and the same sample', async () => {
    const roles = await stage();
    const { sp, csp, keys } = roles;
    const random = new SeededRandom('elements');
    const model = await modelOf(roles, 5n, [6n, 7n], random);
    const [encrypted = []] = await encryptPacked(roles, [[200n]], random);
    const elements: bigint[] = encrypted.map(({ b }) => b % keys.bcp.parameters.modulus);
    for (let call = 0; call < 50; call++) {
      const prepared = await prepareScore(sp, model.sp, random);
      const { request } = requestScore(sp, encrypted, prepared);
      const { answer } = await answerScore(csp, keys.provider, model.csp, request, random);
      elements.push(
        ...request.map((element) => element % keys.bcp.parameters.modulus),
        answer % sp.own.key.modulus,
      );
    }
    expect(new Set(elements).size).toBe(1 + 50 * 3);
  });

  it('of an answer is with a generator that the service provider did not choose', async () => {
    const { provider, own } = await made;
    expect(provider.zeros.modulus).toBe(own.key.modulus);
    expect(provider.zeros.generator).not.toBe(own.key.generator);
  });
});

describe('a preparation', () => {
  it('is taken once: a second request with it throws', async () => {
    const roles = await stage();
    const random = new SeededRandom('once');
    const model = await modelOf(roles, 5n, [6n, 7n], random);
    const [encrypted = []] = await encryptPacked(roles, [[200n]], random);
    const prepared = await prepareScore(roles.sp, model.sp, random);
    requestScore(roles.sp, encrypted, prepared);
    expect(() => requestScore(roles.sp, encrypted, prepared)).toThrow('used before');
    expect(() => prepared.take()).toThrow('used before');
  });

  it('is not in what prints', async () => {
    const roles = await stage();
    const random = new SeededRandom('print');
    const model = await modelOf(roles, 5n, [6n, 7n], random);
    const prepared = await prepareScore(roles.sp, model.sp, random);
    expect(Object.keys(prepared)).toEqual([]);
    expect(JSON.stringify(prepared)).toBe('{}');
  });
});
