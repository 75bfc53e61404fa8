import { describe, expect, it } from 'vitest';

import { setUpForTests } from '../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { createPortableEngine } from '../modular/index.js';
import { jacobi } from '../modular/kernel.js';
import {
  GENERATOR_FAMILIES,
  checkParameters,
  parseParametersDigest,
  publicParameters,
  requirePinned,
} from './parameters.js';

const engine = createPortableEngine({ threads: 0 });
const made = setUpForTests(512, 'residue', engine, new SeededRandom('parameters'));

describe('public parameters', () => {
  it('have the widths that follow from N', async () => {
    for (const bits of [512, 1024, 2048] as const) {
      const { parameters } = await setUpForTests(bits, 'bcp03', engine, new SeededRandom('w'));
      expect(parameters).toMatchObject({
        bits,
        plaintextBytes: bits / 8,
        elementBytes: bits / 4,
        modulusSquared: parameters.modulus ** 2n,
      });
    }
  });

  it('pass their own check in both families', async () => {
    for (const family of GENERATOR_FAMILIES) {
      const { parameters } = await setUpForTests(512, family, engine, new SeededRandom('own'));
      await expect(checkParameters(parameters, engine)).resolves.toBeUndefined();
    }
  });

  it('have a digest that changes with family, modulus and generator', async () => {
    const { family, modulus, generator, digest } = (await made).parameters;
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(publicParameters(family, modulus, generator).digest).toBe(digest);
    const others = [
      publicParameters('bcp03', modulus, generator),
      publicParameters(family, modulus + 2n, generator),
      publicParameters(family, modulus, generator + 1n),
    ];
    expect(new Set([digest, ...others.map((other) => other.digest)]).size).toBe(4);
  });

  it('cannot be changed after they were made', async () => {
    const { parameters } = await made;
    expect(Object.isFrozen(parameters)).toBe(true);
  });

  it('are refused where they are not the pinned ones', async () => {
    const { parameters } = await made;
    const { family, modulus, generator } = parameters;
    expect(() => {
      requirePinned(parameters, parameters.digest);
    }).not.toThrow();
    expect(() => {
      requirePinned(publicParameters(family, modulus, generator + 1n), parameters.digest);
    }).toThrow(
      expect.objectContaining({
        code: 'PARAMETERS_MISMATCH',
        details: { expected: parameters.digest },
      }),
    );
  });

  it('are refused where lengths, ranges or the Jacobi symbol are wrong', async () => {
    const { family, modulus: N, generator } = (await made).parameters;
    let nonResidue = 2n;
    while (jacobi(nonResidue, N) !== -1) nonResidue += 1n;
    const odd = (1n << 511n) + 1n;
    const cases: readonly [modulus: bigint, generator: bigint, field: string][] = [
      [N >> 2n, generator, 'modulus'],
      [odd >> 1n, 4n, 'modulus'],
      [(1n << 512n) + 1n, 4n, 'modulus'], // 513 bits
      [(1n << 8193n) + 1n, 4n, 'modulus'],
      [N + 1n, 4n, 'modulus'], // even
      [N, 0n, 'generator'],
      [N, 1n, 'generator'],
      [N, N * N - 1n, 'generator'],
      [N, N * N, 'generator'],
      [N, N, 'generator'],
      [N, nonResidue, 'generator'],
    ];
    for (const [modulus, g, field] of cases) {
      await expect(
        checkParameters(publicParameters(family, modulus, g), engine),
        `${modulus.toString(16).slice(0, 8)}.. ${g.toString(16).slice(0, 8)}`,
      ).rejects.toMatchObject({ code: 'PARAMETERS_INVALID', details: { field } });
    }
  });
});

describe('a digest on a command line', () => {
  const digest = '0123456789abcdef'.repeat(4);

  it('is taken in either case, with white space around it', () => {
    expect(parseParametersDigest(` ${digest.toUpperCase()}\n`, '--pin')).toBe(digest);
  });

  it.each(['', digest.slice(1), `${digest}0`, `g${digest.slice(1)}`, `0x${digest.slice(2)}`])(
    'is refused otherwise: %j',
    (text) => {
      expect(() => parseParametersDigest(text, '--pin')).toThrow(
        expect.objectContaining({ code: 'OPTION_INVALID', details: { option: '--pin' } }),
      );
    },
  );
});
