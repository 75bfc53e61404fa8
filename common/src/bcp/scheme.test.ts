import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { localParties, type LocalParties } from '../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import type { TestModulusBits } from '../../../harness/src/local/test-primes.js';
import { createPortableEngine } from '../modular/index.js';
import { bitLength } from '../integers.js';
import { decodeCiphertexts, encodeCiphertext, type Ciphertext } from './ciphertext.js';
import { decrypt } from './keys.js';
import type { GeneratorFamily } from './parameters.js';
import { KeyedBcp } from './scheme.js';

const LONG = process.env['DUOVEIL_LONG_TESTS'] === '1';
const SIZES: readonly [TestModulusBits, runs: number][] = LONG
  ? [
      [512, 400],
      [1024, 60],
      [2048, 10],
      [3072, 2],
    ]
  : [
      [512, 30],
      [1024, 3],
      [2048, 1],
    ];
const FAMILIES: readonly GeneratorFamily[] = ['residue', 'bcp03'];
const CASES = FAMILIES.flatMap((family) =>
  SIZES.map(([bits, runs]) => ({ family, bits, runs }) as const),
);

const engine = createPortableEngine({ threads: 0 });

describe.each(CASES)('$family at $bits bits', ({ family, bits, runs }) => {
  const made = localParties(bits, family, engine, new SeededRandom(`laws/${family}/${bits}`));

  const messages = ({ bcp }: LocalParties) => {
    const N = bcp.parameters.modulus;
    return fc.oneof(
      fc.constantFrom(0n, 1n, 2n, N - 1n, N - 2n, N / 2n),
      fc.bigInt({ min: 0n, max: N - 1n }),
    );
  };
  /** Any integer: negative ones, and ones of N and above, are taken modulo `N`. */
  const constants = ({ bcp }: LocalParties) => {
    const N = bcp.parameters.modulus;
    return fc.oneof(
      fc.constantFrom(0n, 1n, -1n, N - 1n, N, N + 1n, -N, -N - 1n, 5n * N + 3n),
      fc.bigInt({ min: -3n * N, max: 3n * N }),
    );
  };

  /** Both ways to decrypt; they must agree. */
  async function open(parties: LocalParties, list: readonly Ciphertext[]): Promise<bigint[]> {
    const { bcp, keys, key, decryption } = parties;
    const byUser = await decrypt(bcp, keys.secretKey, list);
    const openings = await key.rerandomiseForOpening(list, new SeededRandom('opening'));
    expect(await decryption.open(keys.publicKey, openings)).toEqual(byUser);
    return byUser;
  }

  /** Check a law for many messages, constants and seeds. */
  async function law(
    predicate: (
      parties: LocalParties,
      m: bigint,
      n: bigint,
      k: bigint,
      random: SeededRandom,
    ) => Promise<void>,
  ): Promise<void> {
    const parties = await made;
    await fc.assert(
      fc.asyncProperty(
        messages(parties),
        messages(parties),
        constants(parties),
        fc.string(),
        (m, n, k, seed) => predicate(parties, m, n, k, new SeededRandom(seed)),
      ),
      { numRuns: runs },
    );
  }

  it('user decryption and master decryption undo encryption', () =>
    law(async (parties, m, n, _k, random) => {
      expect(await open(parties, await parties.key.encrypt([m, n], random))).toEqual([m, n]);
    }));

  it('encryption takes any integer modulo N', () =>
    law(async (parties, _m, _n, k, random) => {
      const encrypted = await parties.key.encrypt([k], random);
      expect(await open(parties, encrypted)).toEqual([parties.bcp.reduce(k)]);
    }));

  it('adds messages', () =>
    law(async (parties, m, n, k, random) => {
      const { bcp, key } = parties;
      const [x, y, z] = await key.encrypt([m, n, k], random);
      const sums = await bcp.sums([[x, y, z].filter((c) => c !== undefined), x ? [x] : []]);
      expect(await open(parties, sums)).toEqual([bcp.reduce(m + n + k), m]);
    }));

  it('adds constants, also negative ones and ones of N and more', () =>
    law(async (parties, m, _n, k, random) => {
      const { bcp, key } = parties;
      const encrypted = await key.encrypt([m], random);
      const added = encrypted.map((c) => bcp.addConstant(c, k));
      expect(await open(parties, added)).toEqual([bcp.reduce(m + k)]);
    }));

  it('multiplies by constants, also negative ones and ones of N and more', () =>
    law(async (parties, m, _n, k, random) => {
      const { bcp, key } = parties;
      const [x] = await key.encrypt([m], random);
      const scaled = await bcp.scale(x ? [{ ciphertext: x, factor: k }] : []);
      expect(await open(parties, scaled)).toEqual([bcp.reduce(m * k)]);
    }));

  it('negates', () =>
    law(async (parties, m, n, _k, random) => {
      const { bcp, key } = parties;
      const negated = await bcp.negate(await key.encrypt([m, n], random));
      expect(await open(parties, negated)).toEqual([bcp.reduce(-m), bcp.reduce(-n)]);
    }));

  it('rerandomises: the same message, another ciphertext in both components', () =>
    law(async (parties, m, n, _k, random) => {
      const { key } = parties;
      const before = await key.encrypt([m, n], random);
      const after = await key.rerandomise(before, random);
      expect(await open(parties, after)).toEqual([m, n]);
      const elements = [...before, ...after].flatMap(({ a, b }) => [a, b]);
      expect(new Set(elements).size).toBe(8);
    }));

  it('never makes the same ciphertext of one message twice', async () => {
    const { key } = await made;
    const random = new SeededRandom('repeated');
    const list = await key.encrypt(Array<bigint>(20).fill(7n), random);
    list.push(...(await key.encrypt(Array<bigint>(20).fill(7n), random)));
    expect(new Set(list.flatMap(({ a, b }) => [a, b])).size).toBe(80);
  });

  it('encodes at fixed width, decodes to the same', () =>
    law(async (parties, m, n, _k, random) => {
      const { bcp, key } = parties;
      const list = await key.encrypt([m, n], random);
      const encoded = list.map((c) => encodeCiphertext(c, bcp.parameters));
      for (const { a, b } of encoded) {
        expect([a.length, b.length]).toEqual([bits / 4, bits / 4]);
      }
      expect(await decodeCiphertexts(encoded, 'list', bcp.parameters, engine)).toEqual(list);
    }));

  it('takes empty lists', async () => {
    const { bcp, key, keys, decryption } = await made;
    const random = new SeededRandom('');
    expect(await key.encrypt([], random)).toEqual([]);
    expect(await key.rerandomise([], random)).toEqual([]);
    expect(await key.rerandomiseForOpening([], random)).toEqual([]);
    expect(await bcp.sums([])).toEqual([]);
    expect(await bcp.scale([])).toEqual([]);
    expect(await bcp.negate([])).toEqual([]);
    expect(await decrypt(bcp, keys.secretKey, [])).toEqual([]);
    expect(await decryption.open(keys.publicKey, [])).toEqual([]);
  });

  it('does not decrypt under another key', async () => {
    const { bcp, key, keys, decryption } = await made;
    const random = new SeededRandom('other key');
    const [other] = (await bcp.ring.powers([{ base: bcp.parameters.generator, exponent: 5n }])).map(
      (publicKey) => new KeyedBcp(bcp, publicKey),
    );
    const list = (await other?.encrypt([42n], random)) ?? [];
    await expect(decrypt(bcp, keys.secretKey, list)).rejects.toMatchObject({
      code: 'DECRYPTION_FAILED',
    });
    // The master key opens it under its own key; `residue` needs no key at all.
    const openings = (await other?.rerandomiseForOpening(list, random)) ?? [];
    expect(await decryption.open(other?.publicKey ?? 0n, openings)).toEqual([42n]);
    const underWrongKey = await decryption.open(key.publicKey, openings);
    if (family === 'residue') expect(underWrongKey).toEqual([42n]);
    else expect(underWrongKey).not.toEqual([42n]);
  });

  it('draws exponents as long as the family needs, and never shorter', async () => {
    const { bcp } = await made;
    const random = new SeededRandom('exponents');
    const sample = (draw: () => bigint) => Array.from({ length: 64 }, draw);
    const encryption = sample(() => bcp.encryptionExponent(random));
    const hiding = sample(() => bcp.hidingExponent(random));
    const longest = (list: readonly bigint[]) => Math.max(...list.map(bitLength));
    const order = family === 'residue' ? bits : 2 * bits;
    expect(longest(encryption)).toBeLessThanOrEqual(bcp.exponentBits);
    // A uniform exponent of so many bits falls short by 20 of them in all of 64 draws: 2^-1280.
    expect(longest(encryption)).toBeGreaterThan((family === 'residue' ? bits / 2 : order) - 20);
    expect(longest(hiding)).toBeLessThanOrEqual(bcp.exponentBits);
    expect(longest(hiding)).toBeGreaterThan(order - 20);
    expect(new Set([...encryption, ...hiding]).size).toBe(128);
  });

  it('hides with exponents that cover the whole order of g, twice', async () => {
    const { bcp, master } = await made;
    const { p, q } = master.factors.reveal();
    const order =
      ((p - 1n) / 2n) * ((q - 1n) / 2n) * (family === 'bcp03' ? bcp.parameters.modulus : 1n);
    expect(await bcp.ring.powers([{ base: bcp.parameters.generator, exponent: order }])).toEqual([
      1n,
    ]);
    // The longest exponent there is: all bits of every draw are ones, but for rejection.
    const span =
      (family === 'residue' ? bcp.parameters.modulus : bcp.parameters.modulusSquared) / 2n;
    expect(span >= 2n * order).toBe(true);
    // What the interval has beyond twice the order makes the only bias: below 2^(3 - |N|/2).
    expect((span - 2n * order) << BigInt(bits / 2 - 3) < span).toBe(true);
  });
});
