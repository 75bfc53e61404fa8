import { inspect } from 'node:util';

import { describe, expect, it } from 'vitest';

import { localParties } from '../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { maskedOpening, encodeOpening, decodeOpenings } from '../bcp/ciphertext.js';
import { exactL, generateKeyPair } from '../bcp/keys.js';
import type { GeneratorFamily } from '../bcp/parameters.js';
import { KeyedBcp } from '../bcp/scheme.js';
import { gcd } from '../integers.js';
import { createPortableEngine } from '../modular/index.js';
import { inverses, jacobi, power } from '../modular/kernel.js';

const engine = createPortableEngine({ threads: 0 });

describe.each<GeneratorFamily>(['residue', 'bcp03'])('master decryption, %s', (family) => {
  const made = (async () => {
    const parties = await localParties(512, family, engine, new SeededRandom(`open/${family}`));
    const { modulus, modulusSquared } = parties.bcp.parameters;
    return { ...parties, ...parties.master.factors.reveal(), modulus, modulusSquared };
  })();

  it('opens ciphertexts under many keys, mixed, more than it keeps in its cache', async () => {
    const { bcp, decryption } = await made;
    const random = new SeededRandom('many keys');
    const keys = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const { publicKey } = await generateKeyPair(bcp, random);
        return new KeyedBcp(bcp, publicKey);
      }),
    );
    for (const round of [0n, 1n]) {
      for (const [i, key] of keys.entries()) {
        const message = round * 1000n + BigInt(i);
        const openings = await key.rerandomiseForOpening(
          await key.encrypt([message], random),
          random,
        );
        expect(await decryption.open(key.publicKey, openings)).toEqual([message]);
      }
    }
    // Other keys than it keeps: powers of g are cheap keys.
    let h = bcp.parameters.generator;
    for (let i = 0; i < 1030; i++) {
      const opening = maskedOpening(
        bcp.ring.multiply(h, bcp.messageFactor(BigInt(i))),
        bcp.parameters.generator,
      );
      if (i % 103 === 0) expect(await decryption.open(h, [opening])).toEqual([BigInt(i)]);
      else if (family === 'bcp03') await decryption.open(h, [opening]);
      h = bcp.ring.multiply(h, bcp.parameters.generator);
    }
  });

  it('fails with one and the same error whatever the cause', async () => {
    const { decryption, keys, key, p, q, modulus: N, modulusSquared } = await made;
    const random = new SeededRandom('causes');
    const [good = maskedOpening(1n, 1n)] = await key.rerandomiseForOpening(
      await key.encrypt([3n], random),
      random,
    );
    const bad = {
      'b is 0': maskedOpening(0n, good.a),
      'b is N': maskedOpening(N, good.a),
      'b is a multiple of p': maskedOpening(6n * p, good.a),
      'b is a multiple of q²': maskedOpening(q * q, good.a),
      ...(family === 'bcp03' && {
        'a is missing': maskedOpening(good.b, undefined),
        'a is 0': maskedOpening(good.b, 0n),
        'a is a multiple of q': maskedOpening(good.b, modulusSquared - q),
      }),
    };
    const seen = new Set<string>();
    for (const [name, item] of Object.entries(bad)) {
      const error: unknown = await decryption
        .open(keys.publicKey, [good, item])
        .catch((e: unknown) => e);
      expect(error, name).toBeInstanceOf(Error);
      const { message, ...rest } = error as Error;
      seen.add(`${message} ${JSON.stringify(rest)}`);
    }
    expect([...seen]).toEqual([
      'decryption failed {"name":"DuoveilError","code":"DECRYPTION_FAILED","details":{}}',
    ]);
  });

  it('prints nothing of the master key', async () => {
    const { decryption, p, q } = await made;
    const text =
      inspect(decryption, { depth: null, showHidden: true, customInspect: false }) +
      JSON.stringify(decryption);
    for (const factor of [p, q]) {
      expect(text).not.toContain(factor.toString());
      expect(text).not.toContain((factor * factor).toString());
    }
  });

  /*
   * The papers raise to p'q', the order of squares, and take L of the result. For a B that is a square
   * modulo one prime only, B^(p'q') is a square root of 1 other than ±1, and an L that rounds down
   * instead of refusing gives it away, for two questions. Three things stand against it here: decoding
   * refuses Jacobi symbol -1; L is exact; and the exponents are p-1 and q-1, so that no sign is left.
   */
  it('as in the papers, but with an unchecked L, gives the factors of N away', async () => {
    const { bcp, decryption, keys, p, q, modulus: N, modulusSquared } = await made;
    const order = ((p - 1n) / 2n) * ((q - 1n) / 2n);
    const [unscale = 0n] = inverses(N, [order % N]);
    const asInThePapers = (b: bigint, L: (u: bigint) => bigint) =>
      (L(power(modulusSquared, { base: b, exponent: order })) * unscale) % N;
    const unchecked = (b: bigint) => asInThePapers(b, (u) => (u - 1n) / N);
    const checked = (b: bigint) => asInThePapers(b, (u) => exactL(u, N));

    // The procedure is right for what is honest: (1, 1 + mN).
    expect(unchecked(1n + 42n * N)).toBe(42n);
    expect(checked(1n + 42n * N)).toBe(42n);

    let root = 2n;
    while (jacobi(root, N) !== -1) root += 1n;
    const chosen = power(modulusSquared, { base: root, exponent: N });
    const questions = [chosen, bcp.ring.multiply(chosen, 1n + N)] as const;

    // L(u) and L(u(1 + p'q'N)) differ by p'q'·(u mod N): the difference of the answers is u mod N.
    const squareRootOfOne = (unchecked(questions[1]) - unchecked(questions[0]) + N) % N;
    expect((squareRootOfOne * squareRootOfOne) % N).toBe(1n);
    expect([p, q]).toContain(gcd(squareRootOfOne - 1n, N));

    for (const b of questions) {
      expect(() => checked(b)).toThrow(expect.objectContaining({ code: 'DECRYPTION_FAILED' }));
      const opening = maskedOpening(b, family === 'bcp03' ? 1n : undefined);
      await expect(
        decodeOpenings([encodeOpening(opening, bcp.parameters)], 'x', bcp.parameters, engine),
      ).rejects.toMatchObject({ code: 'CIPHERTEXT_INVALID' });
    }
    // Even undecoded, ours answers what it would for the square: 0 and 1, and nothing of a root.
    const openings = questions.map((b) => maskedOpening(b, family === 'bcp03' ? 1n : undefined));
    expect(await decryption.open(keys.publicKey, openings)).toEqual([0n, 1n]);
  });
});
