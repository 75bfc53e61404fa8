/** What a CSP makes of service providers that do not keep to the rules. */
import { randomBytes } from 'node:crypto';

import {
  decodeCiphertexts,
  decrypt,
  encodeKey,
  encodeOpening,
  generateKeyPair,
  GENERATOR_FAMILIES,
  KeyedBcp,
  provePossession,
} from '@duoveil/common/bcp';
import type { Bcp, EncodedKey, KeyPair } from '@duoveil/common/bcp';
import { bytesFromInteger, integerFromBytes, systemRandom } from '@duoveil/common/random';
import { callUnary } from '@duoveil/common/runtime';
import type { ClientMethod, Connection } from '@duoveil/common/runtime';
import {
  BlindedArithmeticServiceService as Arithmetic,
  KeyServiceService as Keys,
} from '@duoveil/proto';
import type { Ciphertext, MaskedOpening, RegisterKeyRequest } from '@duoveil/proto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { Deployment, engine, identity, PATIENT } from './support/deployment.js';

/** Values, or pairs of them, that one call may carry. */
const MOST = 64;

describe.each(GENERATOR_FAMILIES)('a CSP of the %s family', (family) => {
  let deployment: Deployment;
  let connection: Connection;
  let bcp: Bcp;
  let keys: KeyPair;
  let key: EncodedKey;
  let keyId: Buffer;

  beforeAll(async () => {
    deployment = await Deployment.prepare({ family });
    await deployment.servers.startCsp();
    connection = await deployment.connect('csp', identity('sp'));
    bcp = await deployment.bcp();
    keys = await generateKeyPair(bcp, systemRandom);
    const proof = await provePossession(bcp, keys, PATIENT, systemRandom);
    key = encodeKey(keys.publicKey, proof, bcp.parameters);
    ({ keyId } = await call(Keys.registerKey, registration()));
  });
  afterAll(() => deployment.close());

  function call<Request, Response>(
    method: ClientMethod<Request, Response, false, false>,
    request: Request,
  ): Promise<Response> {
    return callUnary(connection, method, request, { deadlineMs: 30_000 });
  }

  function registration(): RegisterKeyRequest {
    return {
      patientId: PATIENT,
      parametersDigest: Buffer.from(bcp.parameters.digest, 'hex'),
      publicKey: { h: Buffer.from(key.publicKey) },
      proof: { commitment: Buffer.from(key.commitment), response: Buffer.from(key.response) },
    };
  }

  async function openings(...values: bigint[]): Promise<MaskedOpening[]> {
    const keyed = new KeyedBcp(bcp, keys.publicKey);
    const encrypted = await keyed.encrypt(values, systemRandom);
    const masked = await keyed.rerandomiseForOpening(encrypted, systemRandom);
    return masked.map((one) => encodeOpening(one, bcp.parameters));
  }

  async function opening(value: bigint): Promise<MaskedOpening> {
    const [one = never()] = await openings(value);
    return one;
  }

  async function plain(results: readonly Ciphertext[]): Promise<bigint[]> {
    const decoded = await decodeCiphertexts(results, 'results', bcp.parameters, engine);
    return decrypt(bcp, keys.secretKey, decoded);
  }

  /** Whatever came before, a good call is answered. */
  async function expectToServe(): Promise<void> {
    const { values } = await call(Arithmetic.open, { keyId, values: await openings(42n) });
    expect(values.map(integerFromBytes)).toEqual([42n]);
  }

  test('computes what it is asked for', async () => {
    const N = bcp.parameters.modulus;
    const [seven = never(), nine = never()] = await openings(7n, 9n);
    const pairs = [{ left: seven, right: nine }];
    const { results: differences } = await call(Arithmetic.subtract, { keyId, pairs });
    expect(await plain(differences)).toEqual([N - 2n]);
    const { results: products } = await call(Arithmetic.multiply, { keyId, pairs });
    expect(await plain(products)).toEqual([63n]);
    const divisor = 2 ** 32 - 1;
    const { results: quotients } = await call(Arithmetic.divide, {
      keyId,
      divisor,
      values: [nine],
    });
    const [quotient = 0n] = await plain(quotients);
    expect((quotient * BigInt(divisor)) % N).toBe(9n);
    const entries = await openings(1n, 1n, 0n, 1n);
    const inverse = await call(Arithmetic.invertMatrix, { keyId, dimension: 2, entries });
    expect(await plain(inverse.entries)).toEqual([1n, N - 1n, 0n, 1n]);
  });

  test('registers a key again, also at the same time', async () => {
    const again = await Promise.all([1, 2, 3].map(() => call(Keys.registerKey, registration())));
    for (const answer of again) expect(answer.keyId.equals(keyId)).toBe(true);
    await expectToServe();
  });

  test('refuses a key whose proof is not of it, or of nobody', async () => {
    const otherKeys = await generateKeyPair(bcp, systemRandom);
    const otherProof = await provePossession(bcp, otherKeys, PATIENT, systemRandom);
    const other = encodeKey(otherKeys.publicKey, otherProof, bcp.parameters);
    const good = registration();
    const proof = good.proof ?? never();
    const one = bytesFromInteger(1n, bcp.parameters.elementBytes);
    const wrong: readonly (readonly [Partial<RegisterKeyRequest>, object])[] = [
      [{ patientId: 'patient-2' }, { code: 'KEY_INVALID', details: { field: 'response' } }],
      [{ publicKey: { h: other.publicKey } }, { code: 'KEY_INVALID' }],
      [{ publicKey: { h: one } }, { code: 'KEY_INVALID', details: { field: 'publicKey' } }],
      [{ publicKey: { h: Buffer.alloc(0) } }, { code: 'KEY_INVALID' }],
      [
        { proof: { ...proof, response: Buffer.alloc(proof.response.length, 0xff) } },
        { code: 'KEY_INVALID', details: { field: 'response' } },
      ],
      [{ proof: { ...proof, response: Buffer.alloc(1) } }, { code: 'KEY_INVALID' }],
      [{ proof: { ...proof, commitment: Buffer.alloc(0) } }, { code: 'KEY_INVALID' }],
      [{ parametersDigest: randomBytes(32) }, { code: 'PARAMETERS_MISMATCH' }],
      [{ parametersDigest: Buffer.alloc(0) }, { code: 'PARAMETERS_MISMATCH' }],
      [{ patientId: 'a/b' }, { code: 'MESSAGE_INVALID', details: { field: 'patient_id' } }],
      [{ publicKey: undefined }, { code: 'MESSAGE_INVALID', details: { field: 'public_key' } }],
      [{ proof: undefined }, { code: 'MESSAGE_INVALID', details: { field: 'proof' } }],
    ];
    for (const [change, error] of wrong) {
      const request = call(Keys.registerKey, { ...good, ...change });
      await expect(request).rejects.toMatchObject(error);
    }
    await expectToServe();
  });

  test('refuses a key that is not registered, in every call', async () => {
    const value = await opening(1n);
    const pairs = [{ left: value, right: value }];
    for (const unknown of [randomBytes(32), Buffer.alloc(0), keyId.subarray(1)]) {
      const calls = [
        call(Arithmetic.subtract, { keyId: unknown, pairs }),
        call(Arithmetic.multiply, { keyId: unknown, pairs }),
        call(Arithmetic.divide, { keyId: unknown, divisor: 2, values: [value] }),
        call(Arithmetic.invertMatrix, { keyId: unknown, dimension: 1, entries: [value] }),
        call(Arithmetic.open, { keyId: unknown, values: [value] }),
      ];
      for (const answer of calls) {
        await expect(answer).rejects.toMatchObject({ code: 'KEY_NOT_REGISTERED' });
      }
    }
    await expectToServe();
  });

  test('refuses too few or too many operands, or half a pair', async () => {
    const value = await opening(1n);
    const pair = { left: value, right: value };
    const many = <T>(one: T, count: number): T[] => Array<T>(count).fill(one);
    const refusedPairs = [
      [],
      many(pair, MOST / 2 + 1),
      [{ left: value, right: undefined }],
      [pair, { left: undefined, right: value }],
    ];
    const refused = (field: string): object => ({ code: 'MESSAGE_INVALID', details: { field } });
    for (const pairs of refusedPairs) {
      for (const method of [Arithmetic.subtract, Arithmetic.multiply]) {
        await expect(call(method, { keyId, pairs })).rejects.toMatchObject(refused('pairs'));
      }
    }
    for (const values of [[], many(value, MOST + 1)]) {
      const quotients = call(Arithmetic.divide, { keyId, divisor: 2, values });
      await expect(quotients).rejects.toMatchObject(refused('values'));
      await expect(call(Arithmetic.open, { keyId, values })).rejects.toMatchObject(
        refused('values'),
      );
    }
    const divide = call(Arithmetic.divide, { keyId, divisor: 0, values: [value] });
    await expect(divide).rejects.toMatchObject(refused('divisor'));
    await expectToServe();
  });

  test('refuses what is no matrix, or a singular one', async () => {
    const { p } = (await deployment.masterKey()).factors.reveal();
    const one = await opening(1n);
    const matrices: readonly (readonly [number, MaskedOpening[], string])[] = [
      [0, [], 'dimension'],
      [0, [one], 'dimension'],
      [9, Array<MaskedOpening>(81).fill(one), 'dimension'],
      [2 ** 32 - 1, [one], 'dimension'],
      [2, [one, one, one], 'entries'],
      [1, [one, one], 'entries'],
      [8, Array<MaskedOpening>(63).fill(one), 'entries'],
      [1, await openings(0n), 'entries'],
      [2, await openings(1n, 2n, 2n, 4n), 'entries'],
      // Singular modulo one of the factors only: the answer must not tell which.
      [1, await openings(p), 'entries'],
      [2, await openings(p, 1n, 0n, 1n), 'entries'],
    ];
    for (const [dimension, entries, field] of matrices) {
      const answer = call(Arithmetic.invertMatrix, { keyId, dimension, entries });
      await expect(answer).rejects.toMatchObject({ code: 'MESSAGE_INVALID', details: { field } });
    }
    const all = [...(await openings(0n)), ...(await openings(p))];
    const messages = await Promise.all(
      all.map((entry) =>
        call(Arithmetic.invertMatrix, { keyId, dimension: 1, entries: [entry] }).catch(
          (error: unknown) => (error as Error).message,
        ),
      ),
    );
    expect(messages[0]).toBe(messages[1]);
    await expectToServe();
  });

  test('refuses a ciphertext that is none, wherever it stands', async () => {
    const { modulus, modulusSquared, elementBytes } = bcp.parameters;
    const { p } = (await deployment.masterKey()).factors.reveal();
    const candidates = Array.from({ length: 64 }, (_, i) => BigInt(i + 2));
    const symbols = await engine.jacobi(candidates, modulus);
    const good = await opening(1n);
    const b = integerFromBytes(good.b);
    const wide = (value: bigint): Buffer => bytesFromInteger(value, elementBytes);
    const components: readonly Buffer[] = [
      wide(0n),
      wide(modulusSquared),
      Buffer.alloc(elementBytes, 0xff),
      wide(modulus),
      wide((b * p) % modulusSquared),
      wide((b * (candidates[symbols.indexOf(-1)] ?? never())) % modulusSquared),
      good.b.subarray(1),
      Buffer.concat([Buffer.alloc(1), good.b]),
      Buffer.alloc(0),
    ];
    const invalid = (field: string): object => ({ code: 'CIPHERTEXT_INVALID', details: { field } });
    const spoilt = components.map((component) => ({ ...good, b: component }));
    for (const bad of spoilt) {
      await expect(call(Arithmetic.open, { keyId, values: [good, bad] })).rejects.toMatchObject(
        invalid('values[1].b'),
      );
    }
    const bad = spoilt[0] ?? never();
    const pairs = [{ left: good, right: bad }];
    await expect(call(Arithmetic.multiply, { keyId, pairs })).rejects.toMatchObject(
      invalid('pairs[1].b'),
    );
    const entries = [bad];
    await expect(
      call(Arithmetic.invertMatrix, { keyId, dimension: 1, entries }),
    ).rejects.toMatchObject(invalid('entries[0].b'));

    // The component that the family does not send, or that it needs.
    const a = family === 'residue' ? good.b : Buffer.alloc(0);
    await expect(call(Arithmetic.open, { keyId, values: [{ ...good, a }] })).rejects.toMatchObject(
      invalid('values[0].a'),
    );
    await expectToServe();
  });

  test('refuses what is no message, or too large a one', async () => {
    const raw: ClientMethod<Buffer, unknown, false, false> = {
      ...Arithmetic.open,
      requestSerialize: (bytes) => bytes,
    };
    await expect(call(raw, Buffer.from('0affffffff0f', 'hex'))).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
    await expect(call(raw, Buffer.alloc(2 * 1024 * 1024))).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
    });
    await expectToServe();
  });

  test('holds none of that for a defect', () => {
    const defects = deployment.log.filter((line) => /"level":"error"|INTERNAL|stack/.test(line));
    expect(defects).toEqual([]);
  });
});

function never(): never {
  throw new Error('it is there');
}
