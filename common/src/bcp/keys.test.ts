import { inspect } from 'node:util';

import { describe, expect, it } from 'vitest';

import { localParties } from '../../../harness/src/local/parties.js';
import { RecordingRandom, SeededRandom } from '../../../harness/src/local/randomness.js';
import { createPortableEngine } from '../modular/index.js';
import { inverses } from '../modular/kernel.js';
import { bitLength } from '../integers.js';
import { bytesFromInteger, integerFromBytes } from '../random.js';
import { ciphertext } from './ciphertext.js';
import {
  decodeSecretKey,
  decrypt,
  encodeSecretKey,
  exactL,
  generateKeyPair,
  keyPairOf,
} from './keys.js';
import type { GeneratorFamily } from './parameters.js';

const engine = createPortableEngine({ threads: 0 });

describe.each<GeneratorFamily>(['residue', 'bcp03'])('a key pair, %s', (family) => {
  const made = localParties(512, family, engine, new SeededRandom(`keys/${family}`));

  it('has h = g^a, a in [1, N²/2], other for every draw', async () => {
    const { bcp } = await made;
    const { generator, modulusSquared } = bcp.parameters;
    const random = new RecordingRandom(new SeededRandom('draws'));
    const secrets = new Set<bigint>();
    for (let i = 0; i < 10; i++) {
      const { secretKey, publicKey } = await generateKeyPair(bcp, random);
      const a = secretKey.reveal();
      expect(a >= 1n && a <= modulusSquared / 2n).toBe(true);
      expect(await bcp.ring.powers([{ base: generator, exponent: a }])).toEqual([publicKey]);
      secrets.add(a);
    }
    expect(secrets.size).toBe(10);
    expect(Math.max(...[...secrets].map(bitLength))).toBeGreaterThan(2 * 512 - 12);
    for (const draw of random.draws) expect(draw).toHaveLength(bcp.parameters.elementBytes);
  });

  it('is sealed and unsealed through bytes of fixed width', async () => {
    const { bcp, keys } = await made;
    const bytes = encodeSecretKey(keys.secretKey, bcp.parameters);
    expect(bytes).toHaveLength(bcp.parameters.elementBytes);
    const unsealed = decodeSecretKey(bytes, bcp.parameters);
    expect(unsealed.reveal()).toBe(keys.secretKey.reveal());
    expect((await keyPairOf(bcp, unsealed)).publicKey).toBe(keys.publicKey);
  });

  it('is not unsealed from bytes that hold no secret key', async () => {
    const { bcp, keys } = await made;
    const { elementBytes, modulusSquared } = bcp.parameters;
    const good = encodeSecretKey(keys.secretKey, bcp.parameters);
    const wide = (value: bigint) => bytesFromInteger(value, elementBytes);
    expect(decodeSecretKey(wide(1n), bcp.parameters).reveal()).toBe(1n);
    expect(decodeSecretKey(wide(modulusSquared / 2n), bcp.parameters)).toBeDefined();
    for (const bytes of [
      wide(0n),
      wide(modulusSquared / 2n + 1n),
      new Uint8Array(elementBytes).fill(0xff),
      good.subarray(1),
      new Uint8Array([0, ...good]),
      new Uint8Array(),
    ]) {
      expect(() => decodeSecretKey(bytes, bcp.parameters)).toThrow(
        expect.objectContaining({ code: 'KEY_INVALID', details: { field: 'secretKey' } }),
      );
    }
  });

  it('does not print its secret', async () => {
    const { keys } = await made;
    const text = inspect(keys, { depth: null, showHidden: true }) + JSON.stringify(keys.secretKey);
    expect(text).toContain('[secret]');
    expect(text).not.toContain(keys.secretKey.reveal().toString());
  });
});

describe('exactL', () => {
  const N = 15n;

  it('divides where the division is exact', () => {
    for (let m = 0n; m < N; m++) expect(exactL(1n + m * N, N)).toBe(m);
  });

  it('refuses every u that is not 1 modulo N', () => {
    for (let u = 0n; u < N * N; u++) {
      if (u % N === 1n) continue;
      expect(() => exactL(u, N)).toThrow(expect.objectContaining({ code: 'DECRYPTION_FAILED' }));
    }
  });
});

describe.each<GeneratorFamily>(['residue', 'bcp03'])('decryption of chosen input, %s', (family) => {
  const made = (async () => {
    const parties = await localParties(512, family, engine, new SeededRandom(`chosen/${family}`));
    const { bcp, keys } = parties;
    const { modulus, modulusSquared } = bcp.parameters;
    /** What decryption would be with an `L` that rounds down instead of refusing. */
    const unchecked = async (a: bigint, b: bigint): Promise<bigint> => {
      const [shared = 0n] = await bcp.ring.powers([{ base: a, exponent: keys.secretKey.reveal() }]);
      const [inverse = 0n] = await bcp.ring.inverses([shared]);
      return (bcp.ring.multiply(b, inverse) - 1n) / modulus;
    };
    return { ...parties, modulus, modulusSquared, unchecked };
  })();

  it('with an unchecked L would raise any element to the secret power, for two questions', async () => {
    const { bcp, keys, modulus: N, unchecked } = await made;
    const x = integerFromBytes(new SeededRandom('x').bytes(100)) ** 2n % (N * N);
    // u = yN + z answers y; u(1+N) = u + zN answers y + z: both halves of u = x^(-a) mod N².
    const high = await unchecked(x, 1n);
    const low = ((await unchecked(x, 1n + N)) - high + N) % N;
    const [power = 0n] = await bcp.ring.powers([{ base: x, exponent: keys.secretKey.reveal() }]);
    expect(bcp.ring.multiply(high * N + low, power)).toBe(1n);
    // This is a static Diffie-Hellman oracle, and reads the parity of a from an element of order 2:
    const ofMinusOne = await unchecked(N * N - 1n, 1n);
    expect(ofMinusOne === 0n).toBe((keys.secretKey.reveal() & 1n) === 0n);

    for (const question of [ciphertext(x, 1n), ciphertext(x, 1n + N)]) {
      await expect(decrypt(bcp, keys.secretKey, [question])).rejects.toMatchObject({
        code: 'DECRYPTION_FAILED',
      });
    }
  });

  /*
   * `(1+N, 1)` is 1 modulo N throughout, so that no check of L can tell it from a ciphertext: in
   * `bcp03`, 1+N is even a power of g; in `residue`, `(g^r·(1+N), h^r)` cannot be told from a
   * ciphertext without the factors (decisional composite residuosity). Its decryption is `-a mod N`,
   * half of the bits of a. What protects is above this layer: a gateway decrypts nothing but its own
   * statistics, keeps the results to itself, and refuses, with the same generic error, a value out of
   * its bounds; `-a mod N` is, but for a chance of bound/N. The other half of a, and with it the key,
   * stays hidden as a discrete logarithm modulo the order of g modulo N.
   */
  it('of (1+N, 1) is -a mod N, with a checked L as with an unchecked one', async () => {
    const { bcp, keys, modulus: N, unchecked } = await made;
    const a = keys.secretKey.reveal();
    const [value = 0n] = await decrypt(bcp, keys.secretKey, [ciphertext(1n + N, 1n)]);
    expect(value).toBe(bcp.reduce(-a));
    expect(await unchecked(1n + N, 1n)).toBe(value);
    // Not the key, and nowhere near the bounds of any statistic (N is 512 bits here).
    expect(value === a || N - value === a).toBe(false);
    expect(bitLength(value)).toBeGreaterThan(480);
    expect(bitLength(N - value)).toBeGreaterThan(480);
  });

  it('fails with one and the same error whatever the cause', async () => {
    const { bcp, keys, key, master, modulus: N, modulusSquared } = await made;
    const { p, q } = master.factors.reveal();
    const [good = ciphertext(1n, 1n)] = await key.encrypt([5n], new SeededRandom('good'));
    const [inverseOfB = 1n] = inverses(modulusSquared, [good.b]);
    const bad = {
      'b is 0': ciphertext(good.a, 0n),
      'a is 0': ciphertext(0n, good.b),
      'a is a multiple of p': ciphertext(p, good.b),
      'b is a multiple of q': ciphertext(good.a, q * 4n),
      'both are multiples of N': ciphertext(N, N),
      'b is negated': ciphertext(good.a, modulusSquared - good.b),
      'b is inverted': ciphertext(good.a, inverseOfB),
      'b is off by one': ciphertext(good.a, good.b + 1n),
      'a and b are swapped': ciphertext(good.b, good.a),
      'nothing was encrypted': ciphertext(1n, 4n),
    };
    const seen = new Set<string>();
    for (const [name, item] of Object.entries(bad)) {
      const error: unknown = await decrypt(bcp, keys.secretKey, [good, item]).catch(
        (e: unknown) => e,
      );
      expect(error, name).toBeInstanceOf(Error);
      const { message, ...rest } = error as Error;
      seen.add(`${message} ${JSON.stringify(rest)}`);
    }
    expect([...seen]).toEqual([
      'decryption failed {"name":"DuoveilError","code":"DECRYPTION_FAILED","details":{}}',
    ]);
    expect(await decrypt(bcp, keys.secretKey, [good])).toEqual([5n]);
  });
});
