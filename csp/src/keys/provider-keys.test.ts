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
  const { key } = await made;
  return {
    N: key.modulus,
    modulus: bytesFromInteger(key.modulus, 64),
    generator: bytesFromInteger(key.generator, 128),
  };
}

describe('a provider key', () => {
  it('is found by the name that it was given, the same each time', async () => {
    const keys = keysOf();
    const { modulus, generator, N } = await encoded();
    const name = await keys.register(modulus, generator);
    expect(name).toHaveLength(32);
    expect(await keys.register(modulus, generator)).toEqual(name);
    expect(keys.find(name).key.modulus).toBe(N);
    expect(await keysOf().register(modulus, generator)).toEqual(name);
  });

  it('is rerandomised with a generator of the CSP: a residue, by its secret, the same everywhere', async () => {
    const { modulus, generator } = await encoded();
    const { opening } = await made;
    const generatorOf = async (keys: ProviderKeys) => {
      const { key, zeros } = keys.find(await keys.register(modulus, generator));
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
    const { modulus, generator, N } = await encoded();
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
      await expect(keys.register(wrong, g)).rejects.toMatchObject({
        code: 'KEY_INVALID',
        details: { field: 'modulus' },
      });
    }
    await expect(
      new ProviderKeys(engine, 514, secret(1)).register(modulus, generator),
    ).rejects.toMatchObject({ code: 'KEY_INVALID', details: { field: 'modulus' } });
  });

  it('is refused where the generator is out of range, no unit, or of Jacobi symbol -1', async () => {
    const keys = keysOf();
    const { modulus, N } = await encoded();
    let outside = 2n;
    while ((await engine.jacobi([outside], N))[0] !== -1) outside++;
    for (const value of [0n, 1n, N, N * N, N * N + 4n, outside, outside + N]) {
      await expect(keys.register(modulus, bytesFromInteger(value, 129))).rejects.toMatchObject({
        code: 'KEY_INVALID',
        details: { field: 'generator' },
      });
    }
  });

  it('that was refused is not known', async () => {
    const keys = keysOf();
    const { modulus, generator } = await encoded();
    await keys.register(modulus, Buffer.alloc(128)).catch(() => undefined);
    expect(() => keys.find(Buffer.alloc(32))).toThrow('not registered');
    const name = await keysOf().register(modulus, generator);
    expect(() => keys.find(name)).toThrow(expect.objectContaining({ code: 'KEY_NOT_REGISTERED' }));
  });

  it('is forgotten where 64 others were used since, and is taken again', async () => {
    const keys = keysOf();
    const { modulus, N } = await encoded();
    const generators = Array.from({ length: 65 }, (_, i) => BigInt((i + 2) ** 2));
    const names: Buffer[] = [];
    for (const g of generators) names.push(await keys.register(modulus, bytesFromInteger(g, 128)));
    const [first, second] = names;
    if (first === undefined || second === undefined) throw new Error('nothing was registered');
    expect(() => keys.find(first)).toThrow('not registered');
    expect(keys.find(second).key.modulus).toBe(N);
    await keys.register(modulus, bytesFromInteger(4n, 128));
    expect(keys.find(first).key.generator).toBe(4n);
    // The second was used since, the third was not.
    expect(keys.find(second).key.generator).toBe(9n);
    expect(() => keys.find(names[2] ?? first)).toThrow('not registered');
  });
});
