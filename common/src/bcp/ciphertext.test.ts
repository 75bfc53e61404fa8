import { describe, expect, it } from 'vitest';

import { localParties } from '../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { createPortableEngine } from '../modular/index.js';
import { jacobi } from '../modular/kernel.js';
import { bytesFromInteger } from '../random.js';
import {
  decodeCiphertexts,
  decodeElements,
  decodeOpenings,
  encodeCiphertext,
  encodeOpening,
  type EncodedCiphertext,
} from './ciphertext.js';
import type { GeneratorFamily } from './parameters.js';

const engine = createPortableEngine({ threads: 0 });

describe.each<GeneratorFamily>(['residue', 'bcp03'])('decoding, %s', (family) => {
  const made = (async () => {
    const parties = await localParties(512, family, engine, new SeededRandom(`decode/${family}`));
    const { bcp, key, master } = parties;
    const random = new SeededRandom('decode');
    const list = await key.encrypt([1n, 2n], random);
    const openings = await key.rerandomiseForOpening(list, random);
    return { ...parties, ...master.factors.reveal(), list, openings, parameters: bcp.parameters };
  })();

  /** Least positive integer of Jacobi symbol -1 over `N`. */
  const outsideOfTheGroup = (modulus: bigint) => {
    let value = 2n;
    while (jacobi(value, modulus) !== -1) value += 1n;
    return value;
  };

  /** Values that are no ciphertext component, each with what the error must say of it. */
  async function badValues(): Promise<readonly [name: string, bytes: Uint8Array, says: RegExp][]> {
    const { parameters, p, q } = await made;
    const { modulus: N, modulusSquared, elementBytes } = parameters;
    const wide = (value: bigint) => bytesFromInteger(value, elementBytes);
    const range = /must lie between 0 and N²$/;
    const group = /must have Jacobi symbol 1 over N$/;
    const length = new RegExp(`must have ${elementBytes} bytes$`);
    return [
      ['0', wide(0n), range],
      ['N²', wide(modulusSquared), range],
      ['N² + 1', wide(modulusSquared + 1n), range],
      ['all ones', new Uint8Array(elementBytes).fill(0xff), range],
      ['N', wide(N), group],
      ['2N', wide(2n * N), group],
      ['N² - N', wide(modulusSquared - N), group],
      ['p', wide(p), group],
      ['q', wide(q), group],
      ['a multiple of p²', wide(p * p * 6n), group],
      ['Jacobi symbol -1', wide(outsideOfTheGroup(N)), group],
      ['Jacobi symbol -1, large', wide(outsideOfTheGroup(N) + (N - 1n) * N), group],
      ['empty', new Uint8Array(), length],
      ['short', wide(4n).subarray(1), length],
      ['long', new Uint8Array([0, ...wide(4n)]), length],
    ];
  }

  it('refuses each bad value in each component, and names the field', async () => {
    const { parameters, list } = await made;
    for (const [name, bytes, says] of await badValues()) {
      for (const [index, component] of [0, 1].flatMap((i) => [
        [i, 'a'] as const,
        [i, 'b'] as const,
      ])) {
        const encoded: EncodedCiphertext[] = list.map((c) => encodeCiphertext(c, parameters));
        encoded[index] = {
          ...encodeCiphertext(list[index] ?? expect.fail(), parameters),
          [component]: bytes,
        };
        const field = `sample[${index}].${component}`;
        await expect(
          decodeCiphertexts(encoded, 'sample', parameters, engine),
          name,
        ).rejects.toMatchObject({
          code: 'CIPHERTEXT_INVALID',
          details: { field },
          message: expect.stringMatching(says) as string,
        });
      }
    }
  });

  it('refuses each bad value in an opening, and names the field', async () => {
    const { parameters, openings } = await made;
    const components = family === 'bcp03' ? (['a', 'b'] as const) : (['b'] as const);
    for (const [name, bytes, says] of await badValues()) {
      for (const component of components) {
        const encoded: EncodedCiphertext[] = openings.map((o) => encodeOpening(o, parameters));
        encoded[1] = {
          ...encodeOpening(openings[1] ?? expect.fail(), parameters),
          [component]: bytes,
        };
        await expect(
          decodeOpenings(encoded, 'masked', parameters, engine),
          name,
        ).rejects.toMatchObject({
          code: 'CIPHERTEXT_INVALID',
          details: { field: `masked[1].${component}` },
          message: expect.stringMatching(says) as string,
        });
      }
    }
  });

  it('never shows the value in the error', async () => {
    const { parameters, p } = await made;
    const bytes = bytesFromInteger(p, parameters.elementBytes);
    const error: unknown = await decodeElements([{ bytes, where: 'x' }], parameters, engine).catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(Error);
    expect(JSON.stringify(error) + String(error)).not.toContain(p.toString(16));
    expect(JSON.stringify(error) + String(error)).not.toContain(p.toString());
  });

  it('accepts the extremes of the group', async () => {
    const { parameters } = await made;
    // -1 is of Jacobi symbol 1, both primes being 3 modulo 4.
    const values = [1n, 4n, parameters.modulusSquared - 1n, 1n + parameters.modulus];
    const encoded = values.map((value) => ({
      bytes: bytesFromInteger(value, parameters.elementBytes),
      where: 'x',
    }));
    expect(await decodeElements(encoded, parameters, engine)).toEqual(values);
  });

  it('takes empty lists', async () => {
    const { parameters } = await made;
    expect(await decodeCiphertexts([], 'x', parameters, engine)).toEqual([]);
    expect(await decodeOpenings([], 'x', parameters, engine)).toEqual([]);
  });

  it(`round-trips openings, ${family === 'bcp03' ? 'with' : 'without'} a`, async () => {
    const { parameters, openings } = await made;
    const encoded = openings.map((opening) => encodeOpening(opening, parameters));
    const { elementBytes } = parameters;
    for (const { a, b } of encoded) {
      expect([a.length, b.length]).toEqual([family === 'bcp03' ? elementBytes : 0, elementBytes]);
    }
    expect(await decodeOpenings(encoded, 'x', parameters, engine)).toEqual(openings);
  });

  it('refuses an opening with the components of the other family', async () => {
    const { parameters, list } = await made;
    const [full] = list.map((c) => encodeCiphertext(c, parameters));
    const wrong = family === 'bcp03' ? { ...full, a: Buffer.alloc(0) } : full;
    await expect(
      decodeOpenings([wrong as EncodedCiphertext], 'masked', parameters, engine),
    ).rejects.toMatchObject({ code: 'CIPHERTEXT_INVALID', details: { field: 'masked[0].a' } });
  });
});
