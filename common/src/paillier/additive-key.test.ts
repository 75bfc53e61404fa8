import { checkPrimeSync } from 'node:crypto';

import { modInv } from 'bigint-crypto-utils';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../../harness/src/local/engine.js';
import { providerKeyForTests } from '../../../harness/src/local/packed.js';
import { RecordingRandom, SeededRandom } from '../../../harness/src/local/randomness.js';
import { PUBLIC_PROVIDER_PRIMES } from '../../../harness/src/local/test-primes.js';
import { elementAt } from '../lists.js';
import { bitLength } from '../integers.js';
import { bytesFromInteger } from '../random.js';
import { Secret } from '../secret.js';
import {
  AdditiveKey,
  generateAdditiveKey,
  hidingBits,
  systemPrimes,
  type AdditiveCiphertext,
} from './additive-key.js';
import { CrtOpening } from './crt-opening.js';

const LONG = process.env['DUOVEIL_LONG_TESTS'] === '1';
const SIZES = LONG ? ([512, 1024, 2048, 3072] as const) : ([512, 1024] as const);
const engine = testEngine();
afterAll(() => engine.close());

describe.each(SIZES)('an additive key of %i bits', (bits) => {
  const made = providerKeyForTests(bits, engine, new SeededRandom(`additive/${bits}`));
  const random = new SeededRandom(`additive/${bits}/messages`);

  const messagesOf = (N: bigint) =>
    fc.oneof(fc.constantFrom(0n, 1n, N - 1n, N / 2n), fc.bigInt(0n, N - 1n));

  const check = async (
    predicate: (x: bigint, y: bigint, k: bigint, N: bigint) => Promise<void>,
  ) => {
    const N = (await made).key.modulus;
    const [x, k] = [messagesOf(N), fc.bigInt(0n, 2n ** 109n)];
    await fc.assert(
      fc.asyncProperty(x, x, k, (left, right, factor) => predicate(left, right, factor, N)),
      { numRuns: LONG ? 40 : 8, seed: 7 },
    );
  };

  it('opens what was encrypted', () =>
    check(async (x, y) => {
      const { key, opening } = await made;
      expect(await opening.open(await key.encrypt([x, y, x], random))).toEqual([x, y, x]);
    }));

  it('adds messages and constants, also negative ones', () =>
    check(async (x, y, k, N) => {
      const { key, opening } = await made;
      const [left, right] = await key.encrypt([x, y], random);
      if (left === undefined || right === undefined) throw new Error('nothing was encrypted');
      const opened = await opening.open([
        key.sum(left, right),
        key.add(left, k),
        key.add(left, -k),
        key.add(left, 3n * N + k),
      ]);
      expect(opened).toEqual([x + y, x + k, x - k, x + k].map((sum) => ((sum % N) + N) % N));
    }));

  it('combines: sums of multiples, of none too', () =>
    check(async (x, y, k, N) => {
      const { key, opening } = await made;
      const terms = (await key.encrypt([x, y], random)).map((ciphertext, i) => ({
        ciphertext,
        factor: k + BigInt(i),
      }));
      const combined = await key.combinations([terms, terms.slice(1)]);
      expect(await opening.open(combined)).toEqual([
        (x * k + y * (k + 1n)) % N,
        (y * (k + 1n)) % N,
      ]);
    }));

  it('encrypts the same message differently each time, and is rerandomised by zeros', async () => {
    const { key, opening } = await made;
    const list = await key.encrypt([5n, 5n, 5n], random);
    const zeros = await key.zeros(3, key.freshBits, random);
    const again = list.map((item, i) => key.sum(item, elementAt(zeros, i)));
    expect(new Set([...list, ...again, ...zeros].map((item) => item % key.modulus)).size).toBe(9);
    expect(await opening.open([...again, ...zeros])).toEqual([5n, 5n, 5n, 0n, 0n, 0n]);
  });
});

describe('an additive key', () => {
  const made = providerKeyForTests(512, engine, new SeededRandom('codec'));

  it('decodes what it encoded, and nothing that is out of range, of another width or outside', async () => {
    const { key } = await made;
    const [element] = await key.encrypt([9n], new SeededRandom('one'));
    if (element === undefined) throw new Error('nothing was encrypted');
    expect(await key.decode([key.encode(element)], 'x')).toEqual([element]);

    const width = key.elementBytes;
    const square = key.modulus ** 2n;
    let outside = 2n;
    while ((await engine.jacobi([outside], key.modulus))[0] !== -1) outside++;
    const [p] = PUBLIC_PROVIDER_PRIMES[512];
    const bad: readonly Uint8Array[] = [
      Buffer.alloc(width),
      bytesFromInteger(square, width),
      bytesFromInteger(square + 1n, width),
      bytesFromInteger(2n ** BigInt(8 * width) - 1n, width),
      bytesFromInteger(element, width + 1),
      key.encode(element).subarray(1),
      Buffer.alloc(0),
      bytesFromInteger(p, width),
      bytesFromInteger(key.modulus, width),
      bytesFromInteger(outside, width),
      bytesFromInteger(element - (element % key.modulus) + outside, width),
    ];
    for (const bytes of bad) {
      await expect(key.decode([key.encode(element), bytes], 'x')).rejects.toMatchObject({
        code: 'CIPHERTEXT_INVALID',
        details: { field: 'x[1]' },
      });
    }
  });

  it('draws exponents of the bits asked for, and of no more than |N| + κ', async () => {
    const { key } = await made;
    const drawn = async (bits: number) => {
      const random = new RecordingRandom(new SeededRandom('bits'));
      await key.zeros(2, bits, random);
      return random.draws.map((draw) => draw.length);
    };
    expect(await drawn(key.freshBits)).toEqual([32, 32]);
    expect(await drawn(400)).toEqual([50, 50]);
    expect(await drawn(Infinity)).toEqual([72, 72]);
  });

  it('reaches with its largest exponents a range 2^64 times the order of any generator', async () => {
    const { key } = await made;
    const [p, q] = PUBLIC_PROVIDER_PRIMES[512];
    const order = ((p - 1n) * (q - 1n)) / 4n;
    expect(
      await engine.ring(key.modulus ** 2n).powers([{ base: key.generator, exponent: order }]),
    ).toEqual([1n]);
    expect(order << 64n < 1n << BigInt(key.bits + 64)).toBe(true);
  });

  it('does not open what is no unit, with the one generic error', async () => {
    const { opening } = await made;
    const [p, q] = PUBLIC_PROVIDER_PRIMES[512];
    for (const value of [0n, p, q * q, p * q]) {
      await expect(opening.open([value])).rejects.toMatchObject({ code: 'DECRYPTION_FAILED' });
    }
  });
});

describe('the bits that hide a combination', () => {
  it('are 64 more than those of the greatest exponent that it may have', () => {
    for (const fresh of [256, 512, 1024, 1536]) {
      for (const applied of [1, 89, 109, 221, 255, 960]) {
        for (let terms = 1; terms <= 44; terms++) {
          const greatest = (2n ** BigInt(fresh) - 1n) * (2n ** BigInt(applied) - 1n);
          const range = 2n ** BigInt(hidingBits(fresh, applied, terms));
          expect((BigInt(terms) * greatest) << 64n <= range).toBe(true);
          // No more than two bits too many: the exponent is what a rerandomiser costs.
          expect((BigInt(terms) * greatest) << 67n > range).toBe(true);
        }
      }
    }
  });
});

/**
 * Whoever answers rerandomises with a random `2N`-th power `x`, whose owner knows `p`: where an odd
 * `ℓ` divides `p - 1` and `x` happens to be an `ℓ`-th power, so is every power of `x`.
 */
describe('a prime of a key', () => {
  /** The character of order 3: trivial on cubes. */
  const cubic = (element: bigint, p: bigint) => {
    let [result, base, exponent] = [1n, element % p, (p - 1n) / 3n];
    for (; exponent > 0n; exponent >>= 1n) {
      if ((exponent & 1n) === 1n) result = (result * base) % p;
      base = (base * base) % p;
    }
    return result;
  };

  it('with a small factor below it would tell its owner what the other party combined', async () => {
    let p = 2n ** 256n - 1n;
    while (p % 12n !== 7n || !checkPrimeSync(p)) p -= 2n;
    const q = PUBLIC_PROVIDER_PRIMES[512][0];
    const [modulus, primes] = [p * q, [p, q]];
    const random = new SeededRandom('cubes');
    const { key } = await generateAdditiveKey(512, engine, random, () =>
      Promise.resolve(primes.pop() ?? 0n),
    );
    // Residues in their order: once in three times a cube modulo p, as the other party's generator.
    const bases = Array.from({ length: 30 }, (_, i) => BigInt(i + 2));
    const residues = await key.ring.powers(bases.map((base) => ({ base, exponent: 2n * modulus })));
    const generator = elementAt(
      residues,
      residues.findIndex((x) => cubic(x, p) === 1n),
    );
    const ciphertext = elementAt(
      residues as AdditiveCiphertext[],
      residues.findIndex((x) => cubic(x, p) !== 1n),
    );
    const zeros = new AdditiveKey({ modulus, generator }, engine);
    for (let secret = 0n; secret < 9n; secret++) {
      const combined = await key.combinations([[{ ciphertext, factor: secret }]]);
      const zero = elementAt(await zeros.zeros(1, Infinity, random), 0);
      const answer = key.add(key.sum(elementAt(combined, 0), zero), 12345n);
      const seen = [0n, 1n, 2n].find((guess) => cubic(ciphertext ** guess, p) === cubic(answer, p));
      expect(seen).toBe(secret % 3n);
    }
  });

  it('has none: no odd factor of p - 1 is small', async () => {
    const drawn = [...(await Promise.all([256, 256, 256, 512, 512].map(systemPrimes)))];
    const all = [...drawn, ...SIZES.flatMap((bits) => [...PUBLIC_PROVIDER_PRIMES[bits]])];
    for (const p of all) {
      expect(p % 4n).toBe(3n);
      expect(checkPrimeSync(p)).toBe(true);
      let smallest: bigint | undefined;
      for (let l = 3n; l < 2n ** 14n && smallest === undefined; l += 2n) {
        if ((p - 1n) % l === 0n) smallest = l;
      }
      expect(smallest).toBeUndefined();
    }
    expect(drawn.map((p) => bitLength(p))).toEqual([256, 256, 256, 512, 512]);
  });
});

describe('generating a key', () => {
  const [p, q] = PUBLIC_PROVIDER_PRIMES[512];

  it('draws again where the primes are equal, the modulus too short, or orders share a factor', async () => {
    const short = 2n ** 255n + 95n;
    const queue = [p, p, short, short + 2n, p, q];
    const { key, opening } = await generateAdditiveKey(512, engine, new SeededRandom('again'), () =>
      Promise.resolve(queue.shift() ?? 0n),
    );
    expect(queue).toEqual([]);
    expect(key.modulus).toBe(p * q);
    expect(key.bits).toBe(512);
    expect(await opening.open(await key.encrypt([77n], new SeededRandom('77')))).toEqual([77n]);
  });

  it('makes the generator a 2N-th power, of which nobody knows the root', async () => {
    const { key } = await providerKeyForTests(512, engine, new SeededRandom('generator'));
    // An N-th residue opens to 0; a square has both symbols 1.
    const opening = new CrtOpening(new Secret({ p, q }), engine);
    expect(await opening.open([key.generator])).toEqual([0n]);
    expect(await engine.jacobi([key.generator % p], p)).toEqual([1]);
    expect(await engine.jacobi([key.generator % q], q)).toEqual([1]);
    expect(modInv(key.generator, key.modulus)).not.toBe(key.generator);
  });
});

describe('opening', () => {
  it('joins halves to what has both remainders', () => {
    const [p, q] = PUBLIC_PROVIDER_PRIMES[512];
    const opening = new CrtOpening(new Secret({ p, q }), engine);
    fc.assert(
      fc.property(fc.bigInt(0n, p * q - 1n), (m) => {
        expect(opening.join(m % p, m % q)).toBe(m);
        // Either prime may be the larger one.
        const other = new CrtOpening(new Secret({ p: q, q: p }), engine);
        expect(other.join(m % q, m % p)).toBe(m);
      }),
      { seed: 3, numRuns: 20 },
    );
  });
});
