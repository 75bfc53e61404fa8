import { proveWellFormed } from '@duoveil/common/paillier';
import { bytesFromInteger } from '@duoveil/common/random';
import { Secret } from '@duoveil/common/secret';
import { afterAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../../harness/src/local/engine.js';
import { providerKeyForTests } from '../../../harness/src/local/packed.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { ProviderKeys } from './provider-keys.js';

const engine = testEngine();
afterAll(() => engine.close());
const secret = (byte: number) => new Secret(new Uint8Array(32).fill(byte));
const keysOf = (byte = 1) => new ProviderKeys(engine, 512, secret(byte));
const made = providerKeyForTests(512, engine, new SeededRandom('provider'));

/** A key as it travels. */
async function encoded() {
  const { key, opening } = await made;
  const roots = await proveWellFormed(key.modulus, opening);
  return {
    N: key.modulus,
    roots: roots.map((root) => bytesFromInteger(root, 64)),
    modulus: bytesFromInteger(key.modulus, 64),
    generator: bytesFromInteger(key.generator, 128),
  };
}

describe('a provider key', () => {
  it('is found by the name that it was given, the same each time', async () => {
    const keys = keysOf();
    const { modulus, generator, roots, N } = await encoded();
    const name = await keys.register(modulus, generator, roots);
    expect(name).toHaveLength(32);
    expect(await keys.register(modulus, generator, roots)).toEqual(name);
    expect(keys.find(name).key.modulus).toBe(N);
    expect(await keysOf().register(modulus, generator, roots)).toEqual(name);
  });

  it('is rerandomised with a generator of the CSP: a residue, by its secret, the same everywhere', async () => {
    const { modulus, generator, roots } = await encoded();
    const { opening } = await made;
    const generatorOf = async (keys: ProviderKeys) => {
      const { key, zeros } = keys.find(await keys.register(modulus, generator, roots));
      expect(zeros.modulus).toBe(key.modulus);
      return zeros.generator;
    };
    const [first, second, other] = [
      await generatorOf(keysOf()),
      await generatorOf(keysOf()),
      await generatorOf(keysOf(2)),
    ];
    expect(second).toBe(first);
    expect(other).not.toBe(first);
    expect(first).not.toBe((await made).key.generator);
    expect(await opening.open([first])).toEqual([0n]);
  });

  it('is refused where the modulus is short, even, of odd length or too long', async () => {
    const keys = keysOf();
    const { modulus, generator, roots, N } = await encoded();
    const bad = [
      [bytesFromInteger(N >> 1n, 64), generator],
      [bytesFromInteger((N >> 2n) | 1n, 64), generator],
      [bytesFromInteger(N - 1n, 64), generator],
      [bytesFromInteger((N << 1n) | 1n, 65), generator],
      [Buffer.alloc(0), generator],
      [Buffer.alloc(64), generator],
      [Buffer.alloc(1025, 0xff), generator],
    ] as const;
    for (const [wrong, g] of bad) {
      await expect(keys.register(wrong, g, roots)).rejects.toMatchObject({
        code: 'KEY_INVALID',
        details: { field: 'modulus' },
      });
    }
    await expect(
      new ProviderKeys(engine, 514, secret(1)).register(modulus, generator, roots),
    ).rejects.toMatchObject({ code: 'KEY_INVALID', details: { field: 'modulus' } });
  });

  it('is refused where the generator is out of range, no unit, or of Jacobi symbol -1', async () => {
    const keys = keysOf();
    const { modulus, roots, N } = await encoded();
    let outside = 2n;
    while ((await engine.jacobi([outside], N))[0] !== -1) outside++;
    for (const value of [0n, 1n, N, N * N, N * N + 4n, outside, outside + N]) {
      await expect(
        keys.register(modulus, bytesFromInteger(value, 129), roots),
      ).rejects.toMatchObject({
        code: 'KEY_INVALID',
        details: { field: 'generator' },
      });
    }
  });

  it('is refused where the roots are too few, too many, others, or out of range', async () => {
    const { modulus, generator, roots, N } = await encoded();
    const [first = Buffer.alloc(0), ...rest] = roots;
    for (const wrong of [
      [],
      rest,
      [...roots, first],
      [first, ...roots.slice(0, -1)],
      [bytesFromInteger(0n, 64), ...rest],
      [bytesFromInteger(N, 64), ...rest],
      [bytesFromInteger(N - 1n, 64), ...rest],
    ]) {
      await expect(keysOf().register(modulus, generator, wrong)).rejects.toMatchObject({
        code: 'KEY_INVALID',
        details: { field: 'roots' },
      });
    }
  });

  it('that was refused is not known', async () => {
    const keys = keysOf();
    const { modulus, generator, roots } = await encoded();
    await keys.register(modulus, Buffer.alloc(128), roots).catch(() => undefined);
    expect(() => keys.find(Buffer.alloc(32))).toThrow('not registered');
    const name = await keysOf().register(modulus, generator, roots);
    expect(() => keys.find(name)).toThrow(expect.objectContaining({ code: 'KEY_NOT_REGISTERED' }));
  });

  it('is forgotten where 64 others were used since, and is taken again', async () => {
    const keys = keysOf();
    const { modulus, roots, N } = await encoded();
    const generators = Array.from({ length: 65 }, (_, i) => BigInt((i + 2) ** 2));
    const names: Buffer[] = [];
    for (const g of generators)
      names.push(await keys.register(modulus, bytesFromInteger(g, 128), roots));
    const [first, second] = names;
    if (first === undefined || second === undefined) throw new Error('nothing was registered');
    expect(() => keys.find(first)).toThrow('not registered');
    expect(keys.find(second).key.modulus).toBe(N);
    await keys.register(modulus, bytesFromInteger(4n, 128), roots);
    expect(keys.find(first).key.generator).toBe(4n);
    // The second was used since, the third was not.
    expect(keys.find(second).key.generator).toBe(9n);
    expect(() => keys.find(names[2] ?? first)).toThrow('not registered');
  });
});
