/**
 * A dishonest service provider and the answer to a score: what it sends as its encrypted share and as
 * its key, so that the answer `W`, which it opens, would show a sample's features. It sends the sample
 * without a mask, so that `φ̂` is `φ`: the worst case.
 */
import { checkPrimeSync, createHash } from 'node:crypto';

import {
  chiSquareQuantile,
  featureValues,
  pack,
  packingPlan,
  unpack,
} from '@duoveil/common/encoding';
import { elementAt } from '@duoveil/common/lists';
import {
  CrtOpening,
  isWellFormed,
  proveWellFormed,
  type AdditiveCiphertext,
  type AdditiveKey,
} from '@duoveil/common/paillier';
import {
  answerScore,
  freshZero,
  keepProviderShare,
  messageCounts,
  type ProviderKey,
} from '@duoveil/common/protocols/packed';
import { bitLength } from '@duoveil/common/integers';
import { bytesFromInteger, derivedRandom, uniformBelow, uniformBits } from '@duoveil/common/random';
import { Secret } from '@duoveil/common/secret';
import { afterAll, describe, expect, it } from 'vitest';

import { packedKeys } from '../../src/local/packed.js';
import { SeededRandom } from '../../src/local/randomness.js';
import { schemaOfBits } from '../../src/local/schemas.js';
import { PUBLIC_PROVIDER_PRIMES } from '../../src/local/test-primes.js';
import { chiSquare, suspicions } from '../../src/statistics.js';
import { call, codeOf, engine, keyOver, startCsp } from './support.js';

const random = new SeededRandom('attacks/level output');
const made = packedKeys(512, engine, random);
afterAll(() => engine.close());

const plan = packingPlan(schemaOfBits(8), 3, 512, [400_000n]);
const { features, featureSlots, answerBits } = plan;
const featuresOf = (reading: bigint) => featureValues(features, [reading]);

/** A dishonest provider's key as the CSP has it, and what opens it. */
interface Dishonest {
  readonly p: bigint;
  readonly q: bigint;
  readonly provider: ProviderKey;
  readonly open: (answer: AdditiveCiphertext) => Promise<bigint>;
}

async function dishonest(p: bigint, q: bigint): Promise<Dishonest> {
  const modulus = p * q;
  const ring = engine.ring(modulus * modulus);
  const [generator = 1n, own = 1n] = await ring.powers(
    [3n, 5n].map((base) => ({ base, exponent: 2n * modulus })),
  );
  const opening = new CrtOpening(new Secret({ p, q }), engine);
  return {
    p,
    q,
    provider: { key: keyOver(modulus, generator), zeros: keyOver(modulus, own) },
    open: async (answer) => elementAt(await opening.open([answer]), 0),
  };
}

/** How a CSP answers: the real one, or one of those that give something away. */
type Answer = (
  provider: ProviderKey,
  share: readonly AdditiveCiphertext[],
  reading: bigint,
) => Promise<AdditiveCiphertext>;

async function requestOf(reading: bigint): Promise<AdditiveCiphertext[]> {
  const { csp } = await made;
  const count = messageCounts(plan).score;
  const packed = pack(featuresOf(reading), featureSlots.bits);
  return csp.key.encrypt([packed, ...Array<bigint>(count - 1).fill(0n)], random);
}

const real: Answer = async (provider, share, reading) => {
  const { csp } = await made;
  const coefficients = { constant: 1n, determinant: 0n, features: features.map(() => 7n) };
  const model = { share: coefficients, providerShare: keepProviderShare(plan, provider, share) };
  const request = await requestOf(reading);
  return (await answerScore({ plan, own: csp }, provider, model, request, random)).answer;
};

/** What is left out of the real answer, or weakened. */
interface Weakness {
  readonly squares?: boolean;
  readonly noise?: (modulus: bigint) => bigint;
  readonly zero?: (provider: ProviderKey) => Promise<AdditiveCiphertext>;
}

const fullNoise = (modulus: bigint) => uniformBelow(modulus - (1n << BigInt(answerBits)), random);

const weakened =
  ({ squares = true, noise = fullNoise, zero = (to) => freshZero(to, random) }: Weakness): Answer =>
  async (provider, share, reading) => {
    const { key } = provider;
    const { csp } = await made;
    const opened = await csp.opening.open(await requestOf(reading));
    const masked = unpack(elementAt(opened, 0), featureSlots.bits, features.length);
    const bases = squares
      ? keepProviderShare(plan, provider, share)
      : key.ring.fixedProducts(share, featureSlots.bits);
    const combined = elementAt(await bases.products([masked]), 0) as AdditiveCiphertext;
    return key.add(key.sum(combined, await zero(provider)), noise(key.modulus));
  };

/** `Enc(τᵢ/2)`: the CSP's squares are then `Enc(τᵢ)`. */
async function halves(key: AdditiveKey, shares: readonly bigint[]): Promise<AdditiveCiphertext[]> {
  const half = (key.modulus + 1n) / 2n;
  return key.encrypt(
    shares.map((share) => (share * half) % key.modulus),
    random,
  );
}

const ordinary = () => {
  const [p, q] = PUBLIC_PROVIDER_PRIMES[512];
  return dishonest(p, q);
};

/** Does an element of a provider's encryption group pass the CSP's check of what it decodes? */
async function isTaken(key: AdditiveKey, share: readonly AdditiveCiphertext[]): Promise<boolean> {
  const encoded = share.map((element) => key.encode(element));
  return (await codeOf(key.decode(encoded, 'provider_share'))) === undefined;
}

/** The share of two-class guesses that are right: nearest mean, learned on one half, tried on the other. */
function nearestMean(first: readonly number[], second: readonly number[]): number {
  const half = first.length / 2;
  const mean = (values: readonly number[]) =>
    values.slice(0, half).reduce((sum, value) => sum + value, 0) / half;
  const [left, right] = [mean(first), mean(second)];
  const nearer = (value: number) => Math.abs(value - left) < Math.abs(value - right);
  const hits =
    first.slice(half).filter(nearer).length +
    second.slice(half).filter((value) => !nearer(value)).length;
  return hits / (2 * half);
}

/** Five standard deviations of a fair coin's share of heads. */
const margin = (tosses: number) => 2.5 / Math.sqrt(tosses);

describe('an encrypted share that is chosen so that features show in the answer', () => {
  const w = BigInt(featureSlots.bits);
  const attacks = [
    { name: 'slots side by side, no mask', shift: 0n, noise: () => 0n },
    { name: 'slots above a short mask', shift: 100n, noise: () => uniformBits(64, random) },
    {
      name: 'slots above a mask as long as ⟨τ, φ̂⟩ should be',
      shift: 330n,
      noise: () => uniformBits(300, random),
    },
  ];

  it.each(attacks)(
    '$name: reads all features; under the mask of full range, none',
    async (attack) => {
      const { provider, open } = await ordinary();
      const { key } = provider;
      const share = await halves(
        key,
        features.map((_, i) => 1n << (attack.shift + w * BigInt(i))),
      );
      expect(await isTaken(key, share)).toBe(true);
      const read = async (answer: Answer, reading: bigint) => {
        const opened = await open(await answer(provider, share, reading));
        return unpack(opened >> attack.shift, featureSlots.bits, features.length);
      };
      const weak = weakened({ noise: attack.noise });
      for (const reading of [0n, 1n, 97n, 255n]) {
        expect(await read(weak, reading)).toEqual(featuresOf(reading));
        expect(await read(real, reading)).not.toEqual(featuresOf(reading));
      }
    },
  );

  it('unit vectors: read each feature without a mask; under that of full range, none', async () => {
    const { provider, open } = await ordinary();
    for (const [i, feature] of featuresOf(97n).entries()) {
      const unit = features.map((_, k) => (k === i ? 1n : 0n));
      const share = await halves(provider.key, unit);
      const weak = weakened({ noise: () => 0n });
      expect(await open(await weak(provider, share, 97n))).toBe(feature);
      expect(await open(await real(provider, share, 97n))).not.toBe(feature);
    }
  });

  it('what is opened is uniform, and tells two readings apart no better than a coin', async () => {
    const { provider, open } = await ordinary();
    const { key } = provider;
    // As large as can be: the answer for one reading is far from that for the other.
    const share = await halves(key, [key.modulus / 256n, 0n]);
    const opened = async (answer: Answer, reading: bigint) => {
      const values: bigint[] = [];
      for (let i = 0; i < 400; i++) values.push(await open(await answer(provider, share, reading)));
      return values;
    };
    const accuracy = (first: readonly bigint[], second: readonly bigint[]) =>
      nearestMean(
        ...([first, second].map((list) =>
          list.map((value) => Number((value << 32n) / key.modulus)),
        ) as [number[], number[]]),
      );
    const short = weakened({ noise: () => uniformBits(answerBits, random) });
    const [lowShort, highShort] = [await opened(short, 3n), await opened(short, 250n)];
    expect(accuracy(lowShort, highShort)).toBe(1);
    expect(
      suspicions(
        lowShort.map((value) => [value]),
        key.modulus,
        1e-6,
      ),
    ).not.toEqual([]);

    const [low, high] = [await opened(real, 3n), await opened(real, 250n)];
    expect(Math.abs(accuracy(low, high) - 0.5)).toBeLessThan(margin(400));
    for (const values of [low, high]) {
      expect(
        suspicions(
          values.map((value) => [value]),
          key.modulus,
          1e-6,
        ),
      ).toEqual([]);
    }
  });
});

describe('an encrypted share with a component of small order', () => {
  it('of order 2 reads parities where the CSP does not square; squares show none', async () => {
    const { provider, p } = await ordinary();
    const { key } = provider;
    const encrypted = await key.encrypt([5n, 6n], random);
    const negated = encrypted.map((element, i) =>
      i === 0 ? ((key.ring.modulus - element) as AdditiveCiphertext) : element,
    );
    // -1 has Jacobi symbol 1 here: the check of what is decoded lets it pass.
    expect(await isTaken(key, negated)).toBe(true);
    const isSquare = async (element: bigint) =>
      (await engine.ring(p).powers([{ base: element % p, exponent: (p - 1n) / 2n }]))[0] === 1n;
    const readings = Array.from({ length: 32 }, (_, i) => BigInt(i * 5));
    const parities = async (answer: Answer) => {
      const read: bigint[] = [];
      for (const reading of readings) {
        read.push((await isSquare(await answer(provider, negated, reading))) ? 0n : 1n);
      }
      return read;
    };
    expect(await parities(weakened({ squares: false }))).toEqual(readings.map((x) => x % 2n));
    expect(await parities(real)).toEqual(readings.map(() => 0n));
  });

  it('of a small factor of p - 1 reads the feature modulo it where the rerandomiser lacks it; a uniform 2N-th power has it', async () => {
    const f = 1009n;
    let k = (3n << 254n) / f / 2n + 12_345n;
    while (!checkPrimeSync(2n * f * k + 1n)) k += 1n;
    const p = 2n * f * k + 1n;
    const party = await dishonest(p, PUBLIC_PROVIDER_PRIMES[512][1]);
    const { provider, q } = party;
    const { key } = provider;
    // The proof is about common factors of N and φ(N): this key has none, and is taken.
    const roots = await proveWellFormed(key.modulus, new CrtOpening(new Secret({ p, q }), engine));
    expect(await isWellFormed(key.modulus, roots, engine)).toBe(true);

    const { element, logarithm } = await component(p, q, f);
    const [component1] = await key.ring.powers([{ base: element, exponent: key.modulus }]);
    // Its own generator, of which it knows that the component is missing: so it is of all powers.
    const [lacking = 1n] = await key.ring.powers([{ base: 7n, exponent: 2n * f * key.modulus }]);
    const fixed = keyOver(key.modulus, lacking);
    const encrypted = await fixed.encrypt([5n, 6n], random);
    const share = encrypted.map((item, i) =>
      i === 0 ? key.sum(item, component1 as AdditiveCiphertext) : item,
    );
    expect(await isTaken(key, share)).toBe(true);
    const unit = 2n * logarithm(component1 ?? 1n);
    const inverse = Array.from({ length: Number(f) }, (_, i) => BigInt(i)).find(
      (candidate) => (candidate * unit) % f === 1n,
    );
    const read = async (answer: Answer, reading: bigint) =>
      (logarithm(await answer(provider, share, reading)) * (inverse ?? 0n)) % f;

    const weak = weakened({
      zero: async () => elementAt(await fixed.zeros(1, Infinity, random), 0),
    });
    for (const reading of [0n, 97n, 255n]) expect(await read(weak, reading)).toBe(reading);

    const counts = Array<number>(16).fill(0);
    let hits = 0;
    for (let i = 0; i < 400; i++) {
      const seen = await read(real, 97n);
      if (seen === 97n) hits += 1;
      const bucket = Number((seen * 16n) / f);
      counts[bucket] = (counts[bucket] ?? 0) + 1;
    }
    expect(chiSquare(counts)).toBeLessThan(chiSquareQuantile(1 - 1e-6, 15));
    expect(hits).toBeLessThan(8);
  });
});

describe("a service provider's modulus that is not what it should be", () => {
  it('with p a factor of q - 1 reads a feature whole where no proof is asked for; is refused at registration', async () => {
    const [p, q] = nested();
    await readsAndIsRefused(q, p, p, 256n);
  });

  it('with 3 as a factor, ground until the proof holds, reads features modulo 3 where factors are not tried; is refused', async () => {
    const q = GROUND;
    const modulus = 3n * q;
    // For each challenge a root: of N = 3q there is one modulo q where the challenge is a cube.
    const cubeRoot = (2n * q + 1n) / 9n;
    const roots = await Promise.all(
      challenges(modulus).map(async (challenge) => {
        const [moduloQ = 0n] = await engine
          .ring(q)
          .powers([{ base: challenge % q, exponent: cubeRoot }]);
        const candidates = [0n, 1n, 2n].map((t) => moduloQ + t * q);
        return candidates.find((root) => root % 3n === challenge % 3n) ?? 0n;
      }),
    );
    const powers = await engine
      .ring(modulus)
      .powers(roots.map((base) => ({ base, exponent: modulus })));
    expect(powers).toEqual(challenges(modulus));
    expect(await isWellFormed(modulus, roots, engine)).toBe(false);
    await readsAndIsRefused(q, 3n, 3n, 3n, roots);
  });
});

/** Two primes, the first of which divides the second less 1, with a product of an even number of bits. */
function nested(): readonly [p: bigint, q: bigint] {
  for (let p = (1n << 255n) - 31n; ; p -= 2n) {
    if (!checkPrimeSync(p)) continue;
    const q = [1n, 2n, 3n, 4n].map((k) => 2n * k * p + 1n).find((prime) => checkPrimeSync(prime));
    if (q !== undefined && bitLength(p * q) % 2 === 0) return [p, q];
  }
}

/**
 * An element of order `f` modulo `q`, 1 modulo the other factor, `f` dividing both `N` and `q - 1`:
 * no `2N`-th power has such a component, so that none hides it.
 */
async function readsAndIsRefused(
  q: bigint,
  p: bigint,
  f: bigint,
  guesses: bigint,
  roots: readonly bigint[] = [],
): Promise<void> {
  const modulus = p * q;
  const { element } = await component(q, p, f);
  const party = await dishonest(p, q);
  const { key } = party.provider;
  const share = [element, 1n].map((unit, i) => key.add(unit as AdditiveCiphertext, BigInt(i)));
  expect(await isTaken(key, share)).toBe(true);
  const project = async (value: bigint) =>
    elementAt(await engine.ring(q).powers([{ base: value % q, exponent: (q - 1n) / f }]), 0);
  const image = await project(element);
  // The real answer, to a key that nobody checked.
  for (const reading of [0n, 97n, 200n]) {
    const seen = await project(await real(party.provider, share, reading));
    let [read, power] = [0n, 1n];
    while (power !== seen && read < guesses) {
      read += 1n;
      power = (power * image * image) % q;
    }
    expect(read).toBe(reading % guesses);
  }

  const csp = await startCsp(await made, random);
  const width = Math.ceil(bitLength(modulus) / 8);
  const attempt = (proof: readonly bigint[]) =>
    call.registerProvider(csp.packed, {
      modulus: bytesFromInteger(modulus, width),
      generator: bytesFromInteger(key.generator, 2 * width),
      roots: proof.map((root) => bytesFromInteger(root, width)),
    });
  if (roots.length > 0) expect(await codeOf(attempt(roots))).toBe('KEY_INVALID');
  else {
    // There are no roots to be shown, but for a chance of one in p.
    for (const challenge of challenges(modulus)) expect(await project(challenge)).not.toBe(1n);
  }
  expect(await codeOf(attempt(challenges(modulus)))).toBe('KEY_INVALID');
  expect(await codeOf(attempt([]))).toBe('KEY_INVALID');
  await csp.close();
}

/** An element of order `f` modulo `p` and 1 modulo `q`, and logarithms to its base. */
async function component(p: bigint, q: bigint, f: bigint) {
  const field = engine.ring(p);
  const project = async (value: bigint) =>
    elementAt(await field.powers([{ base: value % p, exponent: (p - 1n) / f }]), 0);
  let base = 2n;
  while ((await project(base)) === 1n) base += 1n;
  const root = await project(base);
  const [inverse = 0n] = await engine.ring(p).inverses([q % p]);
  const element = 1n + q * ((((root - 1n + p) % p) * inverse) % p);
  const table = new Map<bigint, bigint>();
  for (let i = 0n, power = 1n; i < f && i < 2000n; i++) {
    table.set(power, i);
    power = (power * root) % p;
  }
  return {
    element,
    /** Of the projection of a value. */
    logarithm: (value: bigint) => {
      let [result, square, exponent] = [1n, value % p, (p - 1n) / f];
      for (; exponent > 0n; exponent >>= 1n) {
        if ((exponent & 1n) === 1n) result = (result * square) % p;
        square = (square * square) % p;
      }
      return table.get(result) ?? -1n;
    },
  };
}

/** The challenges of the proof: they follow from the modulus, which is why it can be ground. */
function challenges(modulus: bigint): bigint[] {
  const seed = createHash('sha256').update('duoveil/well-formed/v1').digest();
  const width = Math.ceil(modulus.toString(16).length / 2);
  const drawn = derivedRandom(seed, bytesFromInteger(modulus, width));
  return Array.from({ length: 8 }, () => uniformBelow(modulus, drawn));
}

/** A prime `q` for which all challenges of `3q` are cubes modulo `q`: one in 6,561. */
const GROUND =
  0x484cda0bb890f9f1eb1eeca7f8f0b780fdb660ea5b822211a72ace2abf9bb8866e6d726b91eba6cedb90ade7897499d870275241c645a142c0d4ad0f3a6b9507n;
