import { describe, expect, it } from 'vitest';

import { localParties, type LocalParties } from '../../../harness/src/local/parties.js';
import {
  QueuedRandom,
  RecordingRandom,
  SeededRandom,
} from '../../../harness/src/local/randomness.js';
import { createPortableEngine } from '../modular/index.js';
import { jacobi } from '../modular/kernel.js';
import { bitLength } from '../integers.js';
import { bytesFromInteger, integerFromBytes } from '../random.js';
import { generateKeyPair } from './keys.js';
import { publicParameters, type GeneratorFamily } from './parameters.js';
import { acceptPublicKey, encodeKey, provePossession, type EncodedKey } from './possession.js';
import { Bcp } from './scheme.js';

const engine = createPortableEngine({ threads: 0 });
const PATIENT = 'ward-3/bed-12';

describe.each<GeneratorFamily>(['residue', 'bcp03'])('proof of possession, %s', (family) => {
  const made = (async () => {
    const random = new SeededRandom(`possession/${family}`);
    const parties = await localParties(512, family, engine, random);
    const proof = await provePossession(parties.bcp, parties.keys, PATIENT, random);
    const encoded: EncodedKey = encodeKey(parties.keys.publicKey, proof, parties.bcp.parameters);
    return { ...parties, random, proof, encoded };
  })();

  const refusal = (field: string) =>
    expect.objectContaining({ code: 'KEY_INVALID', details: { field } }) as Error;

  /** Flip one bit of a copy. */
  const flipped = (bytes: Uint8Array, index: number) => {
    const copy = Uint8Array.from(bytes);
    copy[index] = (copy[index] ?? 0) ^ 1;
    return copy;
  };

  it('is accepted, and says which key', async () => {
    const { bcp, keys, encoded } = await made;
    expect(await acceptPublicKey(bcp, encoded, PATIENT)).toBe(keys.publicKey);
  });

  it('is accepted for the smallest and the largest secret', async () => {
    const { bcp, random } = await made;
    const { elementBytes, modulusSquared } = bcp.parameters;
    for (const secret of [2n, modulusSquared / 2n]) {
      const queue = new QueuedRandom([bytesFromInteger(secret - 1n, elementBytes)]);
      // uniformBetween takes the draw's top bits; |N²/2| is one bit less than the bytes hold.
      const keys = await generateKeyPair(bcp, {
        bytes: (length) => {
          const bytes = queue.bytes(length);
          return bytesFromInteger(integerFromBytes(bytes) << 1n, length);
        },
      });
      expect(keys.secretKey.reveal()).toBe(secret);
      const proof = await provePossession(bcp, keys, PATIENT, random);
      const encoded = encodeKey(keys.publicKey, proof, bcp.parameters);
      expect(await acceptPublicKey(bcp, encoded, PATIENT)).toBe(keys.publicKey);
    }
  });

  it('differs every time', async () => {
    const { bcp, keys, proof, random } = await made;
    const again = await provePossession(bcp, keys, PATIENT, random);
    expect(again.commitment).not.toBe(proof.commitment);
    expect(again.response).not.toBe(proof.response);
  });

  it.each(['ward-3/bed-1', 'ward-3/bed-12 ', 'WARD-3/BED-12', '', 'ward-3/bed-12\0'])(
    'is refused for another patient: %j',
    async (patient) => {
      const { bcp, encoded } = await made;
      await expect(acceptPublicKey(bcp, encoded, patient)).rejects.toThrow(refusal('response'));
    },
  );

  it('is refused under other parameters, also ones that differ by their name only', async () => {
    const { bcp, encoded, random } = await made;
    const { modulus, generator } = bcp.parameters;
    const renamed = publicParameters(
      family === 'residue' ? 'bcp03' : 'residue',
      modulus,
      generator,
    );
    const other = await localParties(512, family, engine, random);
    for (const parameters of [renamed, other.bcp.parameters]) {
      await expect(acceptPublicKey(new Bcp(parameters, engine), encoded, PATIENT)).rejects.toThrow(
        refusal('response'),
      );
    }
  });

  it('is refused with another key', async () => {
    const { bcp, encoded, random } = await made;
    const other = await generateKeyPair(bcp, random);
    const publicKey = bytesFromInteger(other.publicKey, bcp.parameters.elementBytes);
    await expect(acceptPublicKey(bcp, { ...encoded, publicKey }, PATIENT)).rejects.toThrow(
      refusal('response'),
    );
  });

  it('is refused with a tampered response, whatever byte', async () => {
    const { bcp, encoded } = await made;
    const { response } = encoded;
    for (const index of [0, 1, response.length >> 1, response.length - 1]) {
      await expect(
        acceptPublicKey(bcp, { ...encoded, response: flipped(response, index) }, PATIENT),
      ).rejects.toThrow(refusal('response'));
    }
  });

  it('is refused with a tampered commitment', async () => {
    const { bcp, encoded, proof } = await made;
    const { elementBytes, modulusSquared, generator } = bcp.parameters;
    for (const value of [
      bcp.ring.multiply(proof.commitment, generator),
      modulusSquared - proof.commitment,
      1n,
    ]) {
      const commitment = bytesFromInteger(value, elementBytes);
      await expect(acceptPublicKey(bcp, { ...encoded, commitment }, PATIENT)).rejects.toThrow(
        refusal('response'),
      );
    }
  });

  it('is refused where the commitment is no element of the group, and says so', async () => {
    const { bcp, encoded, master } = await made;
    const { elementBytes, modulus } = bcp.parameters;
    for (const value of [0n, master.factors.reveal().p, modulus]) {
      const commitment = bytesFromInteger(value, elementBytes);
      await expect(acceptPublicKey(bcp, { ...encoded, commitment }, PATIENT)).rejects.toThrow(
        refusal('commitment'),
      );
    }
  });

  it('is refused at a wrong length of any field', async () => {
    const { bcp, encoded } = await made;
    for (const field of ['publicKey', 'commitment', 'response'] as const) {
      for (const bytes of [
        encoded[field].subarray(1),
        new Uint8Array([0, ...encoded[field]]),
        new Uint8Array(),
      ]) {
        await expect(acceptPublicKey(bcp, { ...encoded, [field]: bytes }, PATIENT)).rejects.toThrow(
          refusal(field),
        );
      }
    }
  });

  it('is refused for a key outside of the group, or of order 1 or 2', async () => {
    const { bcp, master } = await made;
    const { modulus: N, modulusSquared, elementBytes } = bcp.parameters;
    const { p, q } = master.factors.reveal();
    let nonResidue = 2n;
    while (jacobi(nonResidue, N) !== -1) nonResidue += 1n;
    const bad = [0n, 1n, modulusSquared - 1n, modulusSquared, nonResidue, p, q * 3n, N, 7n * N];
    for (const publicKey of bad) {
      // The best that somebody could send: for h = 1 and s = w, the equation holds.
      const proof = { commitment: bcp.parameters.generator, response: 1n };
      const encoded = {
        ...encodeKey(1n, proof, bcp.parameters),
        publicKey: bytesFromInteger(publicKey, elementBytes),
      };
      await expect(acceptPublicKey(bcp, encoded, PATIENT)).rejects.toThrow(refusal('publicKey'));
    }
  });

  it('cannot be made up from a challenge chosen first', async () => {
    const { bcp, keys, random } = await made;
    const { generator, elementBytes } = bcp.parameters;
    const [c, response] = [integerFromBytes(random.bytes(32)), integerFromBytes(random.bytes(160))];
    const [left = 1n, right = 1n] = await bcp.ring.powers([
      { base: generator, exponent: response },
      { base: keys.publicKey, exponent: c },
    ]);
    const [inverse = 1n] = await bcp.ring.inverses([right]);
    const commitment = bcp.ring.multiply(left, inverse);
    // A verifier that took c from the prover would accept: g^s = t·h^c.
    expect(bcp.ring.multiply(commitment, right)).toBe(left);
    const encoded = encodeKey(keys.publicKey, { commitment, response }, bcp.parameters);
    expect(bytesFromInteger(commitment, elementBytes)).toEqual(encoded.commitment);
    await expect(acceptPublicKey(bcp, encoded, PATIENT)).rejects.toThrow(refusal('response'));
  });

  it('fails as what it is, not as a bad key, where the engine fails', async () => {
    const { bcp, encoded } = await made;
    const closed = createPortableEngine({ threads: 0 });
    const broken = new Bcp(bcp.parameters, closed);
    await closed.close();
    await expect(acceptPublicKey(broken, encoded, PATIENT)).rejects.toThrow(/engine is closed/);
  });

  it('has a challenge that depends on commitment, patient, key and parameters', async () => {
    const { bcp, keys, random } = await made;
    const other = await localParties(512, family, engine, random);
    /** `c = (s - w)/a`, from a proof whose nonce is known. */
    const challengeOf = async (
      seed: string,
      patient: string,
      parties: Pick<LocalParties, 'bcp' | 'keys'>,
    ) => {
      const recorded = new RecordingRandom(new SeededRandom(seed));
      const { response } = await provePossession(parties.bcp, parties.keys, patient, recorded);
      const nonce = integerFromBytes(recorded.draws[0] ?? new Uint8Array());
      const a = parties.keys.secretKey.reveal();
      expect((response - nonce) % a).toBe(0n);
      return (response - nonce) / a;
    };
    const own = { bcp, keys };
    const challenges = [
      await challengeOf('one', PATIENT, own),
      await challengeOf('other', PATIENT, own),
      await challengeOf('one', 'another', own),
      await challengeOf('one', PATIENT, { bcp, keys: await generateKeyPair(bcp, random) }),
      await challengeOf('one', PATIENT, other),
    ];
    expect(new Set(challenges).size).toBe(5);
    expect(await challengeOf('one', PATIENT, own)).toBe(challenges[0]);
    for (const c of challenges) expect(bitLength(c)).toBeGreaterThan(256 - 40);
  });

  describe('hides the secret in its response', () => {
    /** The quotient of response and challenge: `a` and, where the nonce is short, little more. */
    const approximation = (response: bigint, nonce: bigint, a: bigint) => {
      const challenge = (response - nonce) / a;
      expect(challenge * a + nonce).toBe(response);
      return response / challenge;
    };

    const distance = (x: bigint, y: bigint) => bitLength(x > y ? x - y : y - x);

    async function proveWith(parties: LocalParties, mangle: (nonce: bigint) => bigint) {
      const recorded = new RecordingRandom(new SeededRandom('nonce'));
      const { bcp, keys } = parties;
      let drawn = 0n;
      const { response } = await provePossession(bcp, keys, PATIENT, {
        bytes: (length) => {
          const bytes = bytesFromInteger(mangle(integerFromBytes(recorded.bytes(length))), length);
          drawn = integerFromBytes(bytes);
          return bytes;
        },
      });
      const a = keys.secretKey.reveal();
      return { drawn, bits: 8 * (recorded.draws[0]?.length ?? 0), a, response };
    }

    it('with a nonce at least 128 bits longer than challenge and secret together', async () => {
      const parties = await made;
      const { drawn, bits, a, response } = await proveWith(parties, (nonce) => nonce);
      expect(bits).toBeGreaterThanOrEqual(bitLength(a) + 256 + 128);
      expect(distance(approximation(response, drawn, a), a)).toBeGreaterThan(bitLength(a) + 100);
    });

    it('where a nonce as short as the challenge would give it away', async () => {
      const parties = await made;
      const { drawn, a, response } = await proveWith(parties, (nonce) => nonce % (1n << 256n));
      expect(distance(approximation(response, drawn, a), a)).toBeLessThan(8);
    });
  });

  /*
   * The group has an element of order 2 that everybody knows. Who knows the logarithm of h can prove
   * -h with every second nonce: a proof shows the knowledge of the logarithm of ±h. It harms its owner
   * alone, who then cannot read every second ciphertext; the master key squares the sign away.
   */
  it('shows the secret of h up to its sign', async () => {
    const { bcp, keys, decryption } = await made;
    const publicKey = bcp.parameters.modulusSquared - keys.publicKey;
    const negated = { ...keys, publicKey };
    const random = new SeededRandom('sign');
    let accepted = 0;
    for (let i = 0; i < 16; i++) {
      const proof = await provePossession(bcp, negated, PATIENT, random);
      await acceptPublicKey(bcp, encodeKey(publicKey, proof, bcp.parameters), PATIENT).then(
        () => accepted++,
        () => undefined,
      );
    }
    expect(accepted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(16);
    const { KeyedBcp } = await import('./scheme.js');
    const key = new KeyedBcp(bcp, publicKey);
    const openings = await key.rerandomiseForOpening(await key.encrypt([42n], random), random);
    expect(await decryption.open(publicKey, openings)).toEqual([42n]);
  });
});
