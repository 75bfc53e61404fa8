/**
 * Transcript vectors of the cryptosystem and the reference suite: every draw of randomness, every
 * message as it travels, and what comes out. They fix the protocols down to the last byte, so that a
 * change of any of it shows, and another implementation can be checked against this one.
 *
 * The files are `common/test/vectors/reference/*.json`; all integers are hexadecimal, big-endian.
 * To write them anew, after a change that is meant:
 *
 *     DUOVEIL_WRITE_VECTORS=1 npx vitest run common/src/protocols/reference/vectors.test.ts
 *
 * The moduli are made of public primes and protect nothing.
 */
import {
  acceptPublicKey,
  Bcp,
  decodeCiphertexts,
  decodeOpenings,
  decrypt,
  encodeCiphertext,
  encodeKey,
  encodeOpening,
  KeyedBcp,
  keyPairOf,
  provePossession,
  publicParameters,
} from '@duoveil/common/bcp';
import type { Ciphertext, GeneratorFamily, MaskedOpening } from '@duoveil/common/bcp';
import { MasterDecryption } from '@duoveil/common/master';
import type { ModularEngine } from '@duoveil/common/modular';
import {
  acceptDifferences,
  acceptInverse,
  acceptOpening,
  acceptProducts,
  acceptQuotients,
  answerDifferences,
  answerInverse,
  answerOpening,
  answerProducts,
  answerQuotients,
  requestDifferences,
  requestInverse,
  requestOpening,
  requestProducts,
  requestQuotients,
  score,
  train,
} from '@duoveil/common/protocols/reference';
import type {
  BlindedArithmetic,
  CiphertextMatrix,
  CiphertextPair,
} from '@duoveil/common/protocols/reference';
import type { RandomSource } from '@duoveil/common/random';
import { Secret } from '@duoveil/common/secret';

import { scoreExact, trainExact } from '../oracle/model.js';
import { localParties, type LocalParties } from './parties.js';
import { QueuedRandom, RecordingRandom, SeededRandom } from './randomness.js';

type Party = 'gateway' | 'sp' | 'csp';

/** A ciphertext or an opening, as it travels. */
interface VectorElement {
  readonly a: string;
  readonly b: string;
}

/** One message, its content in the order of the protocol. */
export interface VectorMessage {
  readonly from: Party;
  readonly to: Party;
  readonly step: string;
  readonly content: readonly (string | VectorElement)[];
}

type Values = Readonly<Record<string, readonly (string | VectorElement)[]>>;

/** What a run starts from. */
export interface VectorSetting {
  readonly bits: number;
  readonly family: GeneratorFamily;
  readonly p: string;
  readonly q: string;
  readonly modulus: string;
  readonly generator: string;
  readonly digest: string;
  readonly secretKey: string;
  readonly publicKey: string;
  readonly inputs: Readonly<Record<string, readonly string[]>>;
}

/** One run, whole. */
export interface Vector extends VectorSetting {
  /** Every draw from the random source, in order. */
  readonly random: readonly string[];
  readonly messages: readonly VectorMessage[];
  readonly outputs: Values;
}

/** A file of vectors. */
export interface VectorFile {
  readonly comment: string;
  readonly vectors: readonly Vector[];
}

interface Stage {
  readonly parties: LocalParties;
  readonly random: RandomSource;
  readonly arithmetic: RecordedArithmetic;
  /** An input, as integers. */
  readonly input: (name: string) => bigint[];
  readonly inputs: VectorSetting['inputs'];
  /** Encrypted by the gateway, sent, and decoded by the service provider. */
  readonly encrypted: (name: string, messages: readonly bigint[]) => Promise<Ciphertext[]>;
  readonly say: (message: VectorMessage) => void;
  /** Ciphertexts as an output: encoded, and what is in them. */
  readonly result: (list: readonly Ciphertext[]) => Promise<Values>;
}

interface Scenario {
  readonly comment: string;
  readonly families: readonly GeneratorFamily[];
  readonly inputs: (modulus: bigint) => Readonly<Record<string, readonly bigint[]>>;
  /** Inputs that are no integers. */
  readonly texts?: VectorSetting['inputs'];
  readonly play: (stage: Stage) => Promise<Values>;
}

const BOTH: readonly GeneratorFamily[] = ['residue', 'bcp03'];
const D_MAX = 2n ** 16n - 1n;

/** Two channels, four samples, the second channel constant. */
const WINDOW = [97n, 670n, 98n, 670n, 96n, 670n, 99n, 670n];
const FLOORS = [1n, 4n];

const pairsOf = (list: readonly Ciphertext[]): CiphertextPair[] =>
  Array.from({ length: list.length / 2 }, (_, i) => ({
    left: at(list, 2 * i),
    right: at(list, 2 * i + 1),
  }));

const operation = (
  comment: string,
  inputs: (modulus: bigint) => readonly bigint[],
  play: (arithmetic: BlindedArithmetic, operands: Ciphertext[]) => Promise<Ciphertext[]>,
): Scenario => ({
  comment,
  families: BOTH,
  inputs: (modulus) => ({ operands: inputs(modulus) }),
  play: async ({ arithmetic, encrypted, input, result }) =>
    result(await play(arithmetic, await encrypted('operands', input('operands')))),
});

/** What there is a vector of, by the name of its file. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  encrypt: {
    comment:
      'Encryption of the smallest, the greatest and usual messages, rerandomisation for opening, and both ways to decrypt.',
    families: BOTH,
    inputs: (modulus) => ({ messages: [0n, 1n, D_MAX, modulus - 1n] }),
    play: async ({ parties, random, arithmetic, input, encrypted, result }) => {
      const list = await encrypted('messages', input('messages'));
      const openings = await arithmetic.sendOpenings(
        'rerandomised',
        await parties.key.rerandomiseForOpening(list, random),
      );
      const opened = await parties.decryption.open(parties.keys.publicKey, openings);
      return { ...(await result(list)), openedByMasterKey: opened.map(hex) };
    },
  },
  possession: {
    comment: 'A proof of possession for one patient, and its acceptance.',
    families: BOTH,
    inputs: () => ({}),
    texts: { patient: ['ward-3/bed-12'] },
    play: async ({ parties: { bcp, keys }, random, inputs, say }) => {
      const patient = at(inputs['patient'] ?? [], 0);
      const proof = await provePossession(bcp, keys, patient, random);
      const encoded = encodeKey(keys.publicKey, proof, bcp.parameters);
      const { publicKey, commitment, response } = encoded;
      const content = [publicKey, commitment, response].map((bytes) => bytes.toString('hex'));
      say({ from: 'gateway', to: 'csp', step: 'publicKey, commitment, response', content });
      return { accepted: [hex(await acceptPublicKey(bcp, encoded, patient))] };
    },
  },
  subtract: operation(
    'Differences: a positive one, a negative one, and one of extremes.',
    (modulus) => [7n, 5n, 5n, 7n, 0n, modulus - 1n],
    (arithmetic, operands) => arithmetic.subtract(pairsOf(operands)),
  ),
  multiply: operation(
    'Products: of usual values, by zero, and of extremes.',
    (modulus) => [D_MAX, 3n, 0n, D_MAX, modulus - 1n, modulus - 1n],
    (arithmetic, operands) => arithmetic.multiply(pairsOf(operands)),
  ),
  divide: operation(
    'Quotients by 30: one without a remainder, and residues of rationals.',
    (modulus) => [600n, 1n, 0n, modulus - 1n],
    (arithmetic, operands) => arithmetic.divide(operands, 30n),
  ),
  'invert-matrix': operation(
    'The inverse of a symmetric matrix of two rows, in the order of its rows.',
    () => [3n, 1n, 1n, 4n],
    async (arithmetic, operands) =>
      (await arithmetic.invert([operands.slice(0, 2), operands.slice(2)])).flat(),
  ),
  open: {
    comment: 'Opening to the service provider: the smallest, a usual and the greatest message.',
    families: BOTH,
    inputs: (modulus) => ({ operands: [0n, D_MAX, modulus - 1n] }),
    play: async ({ arithmetic, encrypted, input }) => ({
      opened: (await arithmetic.open(await encrypted('operands', input('operands')))).map(hex),
    }),
  },
  train: {
    comment:
      'Training on four samples of two channels, one of which is constant: encrypted mean and inverse covariance. The window is listed sample by sample.',
    families: ['residue'],
    inputs: () => ({ window: WINDOW, floors: FLOORS }),
    play: async ({ parties, arithmetic, input, encrypted, result }) => {
      const window = inRows(await encrypted('window', input('window')), FLOORS.length);
      const model = await train(arithmetic, parties.bcp, window, input('floors'));
      const { ciphertexts = [], messages = [] } = await result([
        ...model.mean,
        ...model.precision.flat(),
      ]);
      return {
        mean: ciphertexts.slice(0, 2),
        precision: ciphertexts.slice(2),
        decryptedMean: messages.slice(0, 2),
        decryptedPrecision: messages.slice(2),
      };
    },
  },
  score: {
    comment:
      'Scoring one sample against a given mean and inverse covariance of two channels: the residue of the exact distance, and the exact distance.',
    families: ['residue'],
    inputs: () => ({ window: WINDOW, floors: FLOORS, sample: [104n, 655n] }),
    play: async ({ parties, arithmetic, input, encrypted }) => {
      const { bcp } = parties;
      const exact = trainExact(inRows(input('window'), FLOORS.length), input('floors'));
      const n = BigInt(exact.samples);
      const { adjugate, determinant } = exact.scaledCovariance;
      const ring = bcp.engine.ring(bcp.parameters.modulus);
      const [perSample = 0n, perDeterminant = 0n] = await ring.inverses([n, determinant]);
      const model = {
        mean: await encrypted(
          'mean',
          exact.sum.map((total) => bcp.reduce(total * perSample)),
        ),
        precision: inRows(
          await encrypted(
            'precision',
            adjugate.flat().map((entry) => bcp.reduce(n * (n - 1n) * entry * perDeterminant)),
          ),
          FLOORS.length,
        ),
      };
      const sample = await encrypted('sample', input('sample'));
      const distance = await score(arithmetic, bcp, model, sample);
      const { numerator, denominator } = scoreExact(exact, input('sample'));
      return { residue: [hex(distance)], exact: [hex(numerator), hex(denominator)] };
    },
  },
};

/** Make the vectors of a scenario, from fixed seeds. */
export async function makeVectors(name: string, engine: ModularEngine): Promise<VectorFile> {
  const scenario = scenarioOf(name);
  const vectors: Vector[] = [];
  for (const family of scenario.families) {
    const seed = `duoveil/vectors/${family}`;
    const { master, keys } = await localParties(512, family, engine, new SeededRandom(seed));
    const { bits, modulus, generator, digest } = master.parameters;
    const { p, q } = master.factors.reveal();
    const inputs = Object.entries(scenario.inputs(modulus));
    const setting: VectorSetting = {
      bits,
      family,
      p: hex(p),
      q: hex(q),
      modulus: hex(modulus),
      generator: hex(generator),
      digest,
      secretKey: hex(keys.secretKey.reveal()),
      publicKey: hex(keys.publicKey),
      inputs: {
        ...scenario.texts,
        ...Object.fromEntries(inputs.map(([key, list]) => [key, list.map(hex)])),
      },
    };
    const random = new RecordingRandom(new SeededRandom(`${seed}/${name}`));
    const played = await play(name, setting, random, engine);
    const draws = random.draws.map((draw) => Buffer.from(draw).toString('hex'));
    vectors.push({ ...setting, random: draws, ...played });
  }
  return { comment: scenario.comment, vectors };
}

/**
 * Play a vector again from its setting and its draws.
 * @throws Error where it draws more, less or otherwise than the vector says
 */
export async function replayVector(
  name: string,
  vector: Vector,
  engine: ModularEngine,
): Promise<Pick<Vector, 'messages' | 'outputs'>> {
  const random = new QueuedRandom(vector.random.map((draw) => Buffer.from(draw, 'hex')));
  const played = await play(name, vector, random, engine);
  if (random.remaining > 0) throw new Error(`${random.remaining} draws were left`);
  return played;
}

async function play(
  name: string,
  setting: VectorSetting,
  random: RandomSource,
  engine: ModularEngine,
): Promise<Pick<Vector, 'messages' | 'outputs'>> {
  const parties = await partiesOf(setting, engine);
  const messages: VectorMessage[] = [];
  const say = (message: VectorMessage) => messages.push(message);
  const arithmetic = new RecordedArithmetic(parties, random, say);
  const outputs = await scenarioOf(name).play({
    parties,
    random,
    arithmetic,
    inputs: setting.inputs,
    input: (key) => (setting.inputs[key] ?? []).map((text) => BigInt(`0x${text}`)),
    encrypted: async (step, plain) =>
      arithmetic.sendCiphertexts('gateway', 'sp', step, await parties.key.encrypt(plain, random)),
    say,
    result: async (list) => ({
      ciphertexts: list.map((item) => element(encodeCiphertext(item, parties.bcp.parameters))),
      messages: (await decrypt(parties.bcp, parties.keys.secretKey, list)).map(hex),
    }),
  });
  return { messages, outputs };
}

async function partiesOf(setting: VectorSetting, engine: ModularEngine): Promise<LocalParties> {
  const [p, q, modulus, generator, secret] = [
    setting.p,
    setting.q,
    setting.modulus,
    setting.generator,
    setting.secretKey,
  ].map((text) => BigInt(`0x${text}`)) as [bigint, bigint, bigint, bigint, bigint];
  const parameters = publicParameters(setting.family, modulus, generator);
  if (parameters.digest !== setting.digest) throw new Error('the digest is another');
  const master = { parameters, factors: new Secret({ p, q }) };
  const bcp = new Bcp(parameters, engine);
  const keys = await keyPairOf(bcp, new Secret(secret));
  if (hex(keys.publicKey) !== setting.publicKey) throw new Error('the public key is another');
  return {
    master,
    decryption: await MasterDecryption.create(master, engine),
    bcp,
    keys,
    key: new KeyedBcp(bcp, keys.publicKey),
  };
}

/** The blinded operations with every message encoded, recorded, and decoded by its receiver. */
class RecordedArithmetic implements BlindedArithmetic {
  readonly #parties: LocalParties;
  readonly #random: RandomSource;
  readonly #say: (message: VectorMessage) => void;

  constructor(parties: LocalParties, random: RandomSource, say: (message: VectorMessage) => void) {
    this.#parties = parties;
    this.#random = random;
    this.#say = say;
  }

  async subtract(pairs: readonly CiphertextPair[]): Promise<Ciphertext[]> {
    const { pairs: masked, masks } = await requestDifferences(this.#parties, pairs, this.#random);
    const sent = await this.#sendPairs('subtract', masked);
    const answer = await answerDifferences(this.#parties, sent, this.#random);
    const received = await this.sendCiphertexts('csp', 'sp', 'differences', answer);
    return acceptDifferences(this.#parties, masks, received);
  }

  async multiply(pairs: readonly CiphertextPair[]): Promise<Ciphertext[]> {
    const { pairs: masked, masks } = await requestProducts(this.#parties, pairs, this.#random);
    const sent = await this.#sendPairs('multiply', masked);
    const answer = await answerProducts(this.#parties, sent, this.#random);
    const received = await this.sendCiphertexts('csp', 'sp', 'products', answer);
    return acceptProducts(this.#parties, pairs, masks, received);
  }

  async divide(dividends: readonly Ciphertext[], divisor: bigint): Promise<Ciphertext[]> {
    const { openings, masks } = await requestQuotients(this.#parties, dividends, this.#random);
    const sent = await this.sendOpenings(`divide by ${divisor}`, openings);
    const answer = await answerQuotients(this.#parties, sent, divisor, this.#random);
    const received = await this.sendCiphertexts('csp', 'sp', 'quotients', answer);
    return acceptQuotients(this.#parties, divisor, masks, received);
  }

  async invert(matrix: CiphertextMatrix): Promise<Ciphertext[][]> {
    const { entries, mask } = await requestInverse(this.#parties, matrix, this.#random);
    const sent = await this.sendOpenings(`invert, dimension ${matrix.length}`, entries);
    const answer = await answerInverse(this.#parties, matrix.length, sent, this.#random);
    const received = await this.sendCiphertexts('csp', 'sp', 'inverse', answer);
    return acceptInverse(this.#parties, mask, received);
  }

  async open(values: readonly Ciphertext[]): Promise<bigint[]> {
    const { openings, masks } = await requestOpening(this.#parties, values, this.#random);
    const sent = await this.sendOpenings('open', openings);
    const answer = await answerOpening(this.#parties, sent);
    this.#say({ from: 'csp', to: 'sp', step: 'opened', content: answer.map(hex) });
    return acceptOpening(this.#parties, masks, answer);
  }

  async sendOpenings(step: string, openings: readonly MaskedOpening[]): Promise<MaskedOpening[]> {
    const { parameters, engine } = this.#parties.bcp;
    const encoded = openings.map((opening) => encodeOpening(opening, parameters));
    this.#say({ from: 'sp', to: 'csp', step, content: encoded.map(element) });
    return decodeOpenings(encoded, step, parameters, engine);
  }

  async sendCiphertexts(
    from: Party,
    to: Party,
    step: string,
    list: readonly Ciphertext[],
  ): Promise<Ciphertext[]> {
    const { parameters, engine } = this.#parties.bcp;
    const encoded = list.map((item) => encodeCiphertext(item, parameters));
    this.#say({ from, to, step, content: encoded.map(element) });
    return decodeCiphertexts(encoded, step, parameters, engine);
  }

  async #sendPairs(
    step: string,
    pairs: readonly { readonly left: MaskedOpening; readonly right: MaskedOpening }[],
  ): Promise<{ left: MaskedOpening; right: MaskedOpening }[]> {
    const sent = await this.sendOpenings(
      step,
      pairs.flatMap(({ left, right }) => [left, right]),
    );
    return pairs.map((_, i) => ({ left: at(sent, 2 * i), right: at(sent, 2 * i + 1) }));
  }
}

function scenarioOf(name: string): Scenario {
  const scenario = SCENARIOS[name];
  if (scenario === undefined) throw new RangeError(`no scenario ${name}`);
  return scenario;
}

function element({ a, b }: { readonly a: Buffer; readonly b: Buffer }): VectorElement {
  return { a: a.toString('hex'), b: b.toString('hex') };
}

function hex(value: bigint): string {
  return value.toString(16);
}

function inRows<T>(list: readonly T[], width: number): T[][] {
  return Array.from({ length: list.length / width }, (_, i) =>
    list.slice(i * width, (i + 1) * width),
  );
}

function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new RangeError(`no element ${index}`);
  return item;
}
