/**
 * Transcript vectors of the packed suite: every draw of randomness, every message as it travels, and
 * what comes out. They fix the protocols down to the last byte, so that a change of any of it shows,
 * and another implementation can be checked against this one.
 *
 * The files are `common/test/vectors/packed/*.json`; all integers are hexadecimal, big-endian. To
 * write them anew, after a change that is meant:
 *
 *     DUOVEIL_WRITE_VECTORS=1 npx vitest run common/src/protocols/packed/vectors.test.ts
 *
 * The moduli are made of public primes and protect nothing.
 */
import {
  Bcp,
  encodeCiphertext,
  KeyedBcp,
  keyPairOf,
  maskedOpeningOf,
  publicParameters,
} from '@duoveil/common/bcp';
import type { Ciphertext } from '@duoveil/common/bcp';
import { MasterDecryption } from '@duoveil/common/master';
import type { ModularEngine } from '@duoveil/common/modular';
import {
  AdditiveKey,
  CrtOpening,
  generateAdditiveKey,
  type AdditiveCiphertext,
} from '@duoveil/common/paillier';
import {
  acceptScore,
  answerScore,
  distanceOfLeverage,
  encryptProviderShare,
  invertGram,
  keepCoefficients,
  maskCoefficients,
  maskGram,
  maskSums,
  prepareScore,
  requestScore,
  shareGram,
} from '@duoveil/common/protocols/packed';
import type { RandomSource } from '@duoveil/common/random';
import { Secret } from '@duoveil/common/secret';

import {
  encryptPacked,
  packedKeys,
  packedRoles,
  trainPacked,
  type PackedKeys,
  type PackedRoles,
} from './packed.js';
import { QueuedRandom, RecordingRandom, SeededRandom } from './randomness.js';
import { schemaOf } from './schemas.js';
import { PUBLIC_PROVIDER_PRIMES } from './test-primes.js';

type Party = 'gateway' | 'sp' | 'csp';

/** One message: elements as they travel, in the order of the protocol. */
export interface PackedMessage {
  readonly from: Party;
  readonly to: Party;
  readonly step: string;
  readonly content: readonly string[];
}

/** What a run starts from. */
export interface PackedSetting {
  readonly bits: number;
  readonly p: string;
  readonly q: string;
  readonly generator: string;
  readonly digest: string;
  readonly secretKey: string;
  readonly publicKey: string;
  /** The service provider's key, and the generator that the CSP drew for it. */
  readonly provider: Readonly<Record<'p' | 'q' | 'generator' | 'zeros', string>>;
  /** A channel each: its greatest value, and the root of its floor. */
  readonly channels: readonly (readonly [D: string, floor: string])[];
  /** Sample by sample. */
  readonly window: readonly (readonly string[])[];
  readonly sample: readonly string[];
}

/** One run, whole. */
export interface PackedVector extends PackedSetting {
  /** Every draw from the random source, in order. */
  readonly random: readonly string[];
  readonly messages: readonly PackedMessage[];
  readonly outputs: Readonly<Record<string, readonly string[]>>;
}

/** A file of vectors. */
export interface PackedVectorFile {
  readonly comment: string;
  readonly vectors: readonly PackedVector[];
}

type Played = Pick<PackedVector, 'messages' | 'outputs'>;

interface Stage {
  readonly roles: PackedRoles;
  readonly setting: PackedSetting;
  readonly engine: ModularEngine;
  readonly random: RandomSource;
  readonly say: (message: PackedMessage) => void;
  /** Additive ciphertexts as they travel: encoded, recorded, decoded by the receiver. */
  readonly send: (
    from: Party,
    to: Party,
    step: string,
    elements: readonly AdditiveCiphertext[],
    key?: AdditiveKey,
  ) => Promise<AdditiveCiphertext[]>;
}

interface Scenario {
  readonly comment: string;
  readonly play: (stage: Stage) => Promise<PackedVector['outputs']>;
}

/** What there is a vector of, by the name of its file. */
export const PACKED_SCENARIOS: Readonly<Record<string, Scenario>> = {
  encrypt: {
    comment: 'Samples as the gateway encrypts them, features packed: those of the window.',
    play: async ({ roles, setting, random, say }) => {
      const { parameters } = roles.keys.bcp;
      const encrypted = await encryptPacked(roles, setting.window.map(integers), random);
      encrypted.forEach((list) => {
        const content = list.map((item) => encodeCiphertext(item, parameters));
        say({
          from: 'gateway',
          to: 'sp',
          step: 'sample: a, b of each plaintext',
          content: content.flatMap(({ a, b }) => [a.toString('hex'), b.toString('hex')]),
        });
      });
      const opened = await roles.keys.csp.opening.open(encrypted.flat().map(({ b }) => b));
      return { plaintexts: opened.map(hex) };
    },
  },
  'provider-key': {
    comment:
      "A service provider's key from its primes, as it travels, and a message encrypted under it and opened.",
    play: async ({ setting, engine, random, say }) => {
      const primes = [setting.provider.p, setting.provider.q].map(integer);
      const { key, opening } = await generateAdditiveKey(setting.bits, engine, random, () =>
        Promise.resolve(primes.pop() ?? 0n),
      );
      const content = [hex(key.modulus), hex(key.generator)];
      say({ from: 'sp', to: 'csp', step: 'modulus, generator', content });
      const encrypted = await key.encrypt([0n, 77n, key.modulus - 1n], random);
      return {
        encrypted: encrypted.map((item) => key.encode(item).toString('hex')),
        opened: (await opening.open(encrypted)).map(hex),
      };
    },
  },
  train: {
    comment:
      'Training on a window of two channels, one of which is constant: shares of the coefficients at both servers.',
    play: async (stage) => {
      const { roles, random, send } = stage;
      const { plan, floors, sp, csp } = roles;
      const { openings, masks } = await maskSums(sp, await sumsOf(stage), random);
      const sums = openings.map(({ b }) => b as AdditiveCiphertext);
      const masked = await send('sp', 'csp', 'masked sums', sums);
      const rows = await shareGram(
        csp,
        masked.map((b) => maskedOpeningOf(b, undefined)),
        random,
      );
      await send('csp', 'sp', 'rows of the share of Q', rows.flat());
      const gram = await maskGram(sp, floors, masks, rows, random);
      await send('sp', 'csp', 'rows of M', gram.matrix.flat());
      const inverse = await invertGram(csp, gram.matrix, random);
      await send('csp', 'sp', 'columns of the inverse of M', inverse.columns.flat());
      const { coefficients, share } = await maskCoefficients(sp, gram.mask, inverse, random);
      await send('sp', 'csp', 'masked coefficients', coefficients.columns.flat());
      const own = await encryptProviderShare(sp.own.key, share, random, plan);
      await send('sp', 'csp', "the service provider's share", own, sp.own.key);
      const kept = await keepCoefficients(csp, coefficients, random);
      await send('csp', 'sp', 'cross terms', kept.crossTerms);
      const difference = [kept.share.constant - share.constant].concat(
        kept.share.features.map((value, i) => value - (share.features[i] ?? 0n)),
      );
      const P = plan.field.order;
      return {
        field: [hex(P)],
        tau: [share.constant, ...share.features].map(hex),
        masked: [kept.share.constant, ...kept.share.features].map(hex),
        theta: difference.map((value) => hex(((value % P) + P) % P)),
      };
    },
  },
  score: {
    comment: 'Scoring one sample with a trained model: the leverage, and the exact distance.',
    play: async (stage) => {
      const { roles, setting, random, send } = stage;
      const { plan, schema, keys, sp, csp } = roles;
      const model = await trainPacked(roles, await sumsOf(stage), random);
      const [sample = []] = await encryptPacked(roles, [integers(setting.sample)], random);
      const prepared = await prepareScore(sp, model.sp, random);
      const { request, pending } = requestScore(sp, sample, prepared);
      const received = await send('sp', 'csp', 'masked sample and cross term', request);
      const { answer } = await answerScore(csp, keys.provider, model.csp, received, random);
      await send('csp', 'sp', 'answer', [answer], sp.own.key);
      const leverage = await acceptScore(sp, model.sp, pending, answer);
      const distance = distanceOfLeverage(leverage, plan, schema);
      if (distance === undefined) throw new Error('no distance');
      return {
        leverage: [hex(leverage)],
        exact: [hex(distance.numerator), hex(distance.denominator)],
      };
    },
  },
};

async function sumsOf({ roles, setting, random }: Stage): Promise<Ciphertext[]> {
  const encrypted = await encryptPacked(roles, setting.window.map(integers), random);
  return roles.keys.bcp.sums(
    Array.from({ length: roles.plan.plaintexts }, (_, i) =>
      encrypted.flatMap((list) => list.slice(i, i + 1)),
    ),
  );
}

/** Make the vectors of a scenario, from fixed seeds. */
export async function makePackedVectors(
  name: string,
  engine: ModularEngine,
): Promise<PackedVectorFile> {
  const seed = 'duoveil/vectors/packed';
  const { master, keys, own, provider } = await packedKeys(512, engine, new SeededRandom(seed));
  const { p, q } = master.factors.reveal();
  const [ownP, ownQ] = PUBLIC_PROVIDER_PRIMES[512];
  const setting: PackedSetting = {
    bits: 512,
    p: hex(p),
    q: hex(q),
    generator: hex(master.parameters.generator),
    digest: master.parameters.digest,
    secretKey: hex(keys.secretKey.reveal()),
    publicKey: hex(keys.publicKey),
    provider: {
      p: hex(ownP),
      q: hex(ownQ),
      generator: hex(own.key.generator),
      zeros: hex(provider.zeros.generator),
    },
    channels: [
      ['3ff', '2'],
      ['3ff', '1'],
    ],
    // One channel is constant.
    window: ['61', '62', '60', '63'].map((value) => [value, '29e']),
    sample: ['68', '28f'],
  };
  const random = new RecordingRandom(new SeededRandom(`${seed}/${name}`));
  const played = await play(name, setting, random, engine);
  const draws = random.draws.map((draw) => Buffer.from(draw).toString('hex'));
  return {
    comment: scenarioOf(name).comment,
    vectors: [{ ...setting, random: draws, ...played }],
  };
}

/**
 * Play a vector again from its setting and its draws.
 * @throws Error where it draws more, less or otherwise than the vector says
 */
export async function replayPackedVector(
  name: string,
  vector: PackedVector,
  engine: ModularEngine,
): Promise<Played> {
  const random = new QueuedRandom(vector.random.map((draw) => Buffer.from(draw, 'hex')));
  const played = await play(name, vector, random, engine);
  if (random.remaining > 0) throw new Error(`${random.remaining} draws were left`);
  return played;
}

async function play(
  name: string,
  setting: PackedSetting,
  random: RandomSource,
  engine: ModularEngine,
): Promise<Played> {
  const keys = await keysOf(setting, engine);
  const schema = schemaOf(
    setting.channels.map(([D, floor]) => ({ D: integer(D), floor: integer(floor) })),
  );
  const roles = packedRoles(keys, schema, setting.window.length);
  const messages: PackedMessage[] = [];
  const say = (message: PackedMessage) => messages.push(message);
  const outputs = await scenarioOf(name).play({
    roles,
    setting,
    engine,
    random,
    say,
    send: async (from, to, step, elements, key = keys.csp.key) => {
      const encoded = elements.map((item) => key.encode(item));
      say({ from, to, step, content: encoded.map((bytes) => bytes.toString('hex')) });
      return key.decode(encoded, step);
    },
  });
  return { messages, outputs };
}

async function keysOf(setting: PackedSetting, engine: ModularEngine): Promise<PackedKeys> {
  const [p, q, generator] = [setting.p, setting.q, setting.generator].map(integer) as [
    bigint,
    bigint,
    bigint,
  ];
  const parameters = publicParameters('residue', p * q, generator);
  if (parameters.digest !== setting.digest) throw new Error('the digest is another');
  const master = { parameters, factors: new Secret({ p, q }) };
  const bcp = new Bcp(parameters, engine);
  const keys = await keyPairOf(bcp, new Secret(integer(setting.secretKey)));
  if (hex(keys.publicKey) !== setting.publicKey) throw new Error('the public key is another');

  const { provider } = setting;
  const factors = { p: integer(provider.p), q: integer(provider.q) };
  const modulus = factors.p * factors.q;
  const key = new AdditiveKey({ modulus, generator: integer(provider.generator) }, engine);
  return {
    master,
    decryption: await MasterDecryption.create(master, engine),
    bcp,
    keys,
    key: new KeyedBcp(bcp, keys.publicKey),
    csp: {
      key: new AdditiveKey(parameters, engine),
      opening: new CrtOpening(master.factors, engine),
    },
    own: { key, opening: new CrtOpening(new Secret(factors), engine) },
    provider: {
      key,
      zeros: new AdditiveKey({ modulus, generator: integer(provider.zeros) }, engine),
    },
  };
}

function scenarioOf(name: string): Scenario {
  const scenario = PACKED_SCENARIOS[name];
  if (scenario === undefined) throw new RangeError(`no scenario ${name}`);
  return scenario;
}

function integer(text: string): bigint {
  return BigInt(`0x${text}`);
}

function integers(texts: readonly string[]): bigint[] {
  return texts.map(integer);
}

function hex(value: bigint): string {
  return value.toString(16);
}
