/**
 * A dishonest service provider sends the CSP values without a mask, and asks for what it may not know.
 * The CSP cannot tell a masked value from another one: what stops these attacks is what it answers.
 */
import {
  decodeCiphertexts,
  decrypt,
  encodeKey,
  encodeOpening,
  generateKeyPair,
  maskedOpeningOf,
  provePossession,
  type Ciphertext,
  type PublicParameters,
} from '@duoveil/common/bcp';
import { packingPlan, unpack } from '@duoveil/common/encoding';
import { invertMatrix } from '@duoveil/common/field';
import { elementAt, inParts } from '@duoveil/common/lists';
import type { AdditiveCiphertext } from '@duoveil/common/paillier';
import { encryptSamples, messageCounts } from '@duoveil/common/protocols/packed';
import { integerFromBytes } from '@duoveil/common/random';
import { afterAll, describe, expect, it } from 'vitest';

import { packedKeys } from '../../src/local/packed.js';
import { SeededRandom } from '../../src/local/randomness.js';
import { schemaOfBits } from '../../src/local/schemas.js';
import {
  call,
  codeOf,
  engine,
  shapeOf,
  startCsp,
  type CspPolicy,
  type TestCsp,
} from './support.js';

const random = new SeededRandom('attacks/opening');
const made = packedKeys(512, engine, random);
const started: TestCsp[] = [];
afterAll(async () => {
  await Promise.all(started.map((csp) => csp.close()));
  await engine.close();
});

const schema = schemaOfBits(8);
const READING = 97n;
const THRESHOLDS = [400_000n];

/** A ciphertext as an opening is sent, with nothing added to it. */
const unmasked = ({ b }: Ciphertext, parameters: PublicParameters) =>
  encodeOpening(maskedOpeningOf(b, undefined), parameters);

async function stage(allowDistance: boolean, policy: CspPolicy = {}) {
  const keys = await made;
  const csp = await startCsp(keys, random, { allowDistance, ...policy });
  started.push(csp);
  const plan = packingPlan(schema, 3, 512, THRESHOLDS);
  const [sample = []] = await encryptSamples(plan, keys.key, [[READING]], random);
  const register = async (patient: string, pair: typeof keys.keys): Promise<Buffer> => {
    const proof = await provePossession(keys.bcp, pair, patient, random);
    const { publicKey, commitment, response } = encodeKey(
      pair.publicKey,
      proof,
      keys.bcp.parameters,
    );
    const { keyId } = await call.registerKey(csp.keys, {
      patientId: patient,
      parametersDigest: Buffer.from(keys.bcp.parameters.digest, 'hex'),
      publicKey: { h: publicKey },
      proof: { commitment, response },
    });
    return keyId;
  };
  return { keys, csp, plan, sample: elementAt(sample, 0), register };
}

describe('a sample that is sent without a mask', () => {
  it('is opened where distance output is on, and leaves a trace; is refused where it is off', async () => {
    const attack = async (allowDistance: boolean) => {
      const { keys, csp, plan, sample, register } = await stage(allowDistance);
      const keyId = await register('ward-3.bed-12', keys.keys);
      const values = [unmasked(sample, keys.bcp.parameters)];
      const opening = call.open(csp.arithmetic, { keyId, values });
      const code = await codeOf(opening);
      const read =
        code === undefined
          ? unpack(
              integerFromBytes(elementAt((await opening).values, 0)),
              plan.featureSlots.bits,
              1,
            )
          : [];
      return { code, read, log: await csp.audited() };
    };
    const on = await attack(true);
    expect(on.read).toEqual([READING]);
    expect(on.log).toContain('"event":"distance","method":"Open","patient":"ward-3.bed-12"');
    const off = await attack(false);
    expect(off).toEqual(expect.objectContaining({ code: 'OUTPUT_NOT_ALLOWED', read: [] }));
    expect(off.log).toContain('"event":"refused","method":"Open"');
  });

  it("is read by dividing it by 1 under a key of the provider's own, where that is not refused with distance output", async () => {
    const attack = async (allowDistance: boolean) => {
      const { keys, csp, plan, sample, register } = await stage(allowDistance);
      // The CSP opens with the master key, whosever the sample is, and encrypts under this key.
      const own = await generateKeyPair(keys.bcp, random);
      const keyId = await register('nobody', own);
      const values = [unmasked(sample, keys.bcp.parameters)];
      const dividing = call.divide(csp.arithmetic, { keyId, divisor: 1, values });
      const code = await codeOf(dividing);
      if (code !== undefined) return { code, log: await csp.audited() };
      const { parameters } = keys.bcp;
      const results = await decodeCiphertexts(
        (await dividing).results,
        'results',
        parameters,
        engine,
      );
      const opened = await decrypt(keys.bcp, own.secretKey, results);
      const read = unpack(elementAt(opened, 0), plan.featureSlots.bits, 1);
      return { read, log: await csp.audited() };
    };
    const on = await attack(true);
    expect(on.read).toEqual([READING]);
    expect(on.log).toContain('"event":"distance","method":"Divide","patient":"nobody"');
    const refused = await attack(false);
    expect(refused).toEqual(expect.objectContaining({ code: 'OUTPUT_NOT_ALLOWED' }));
    expect(refused.log).toContain('"event":"refused","method":"Divide","patient":"nobody"');
  });

  it('is tried for equality by whether a matrix inverts, where that is not refused with distance output', async () => {
    const attack = async (allowDistance: boolean, guesses: readonly bigint[]) => {
      const { keys, csp, plan, sample, register } = await stage(allowDistance);
      const keyId = await register('ward-3.bed-12', keys.keys);
      const { bits } = plan.featureSlots;
      const codes = [];
      for (const guess of guesses) {
        // For one channel the plaintext is x + x²·2^w.
        const guessed = guess + ((guess * guess) << BigInt(bits));
        const difference = keys.bcp.addConstant(sample, -guessed);
        const entries = [unmasked(difference, keys.bcp.parameters)];
        const request = { keyId, dimension: 1, entries };
        codes.push(await codeOf(call.invertMatrix(csp.arithmetic, request)));
      }
      return codes;
    };
    const guesses = [READING - 1n, READING, READING + 1n];
    expect(await attack(true, guesses)).toEqual([undefined, 'MESSAGE_INVALID', undefined]);
    expect(await attack(false, guesses)).toEqual(guesses.map(() => 'OUTPUT_NOT_ALLOWED'));
  });

  it('is not computed with under any key where distance output is off', async () => {
    const { keys, csp, sample, register } = await stage(false);
    const keyId = await register('ward-3.bed-12', keys.keys);
    const value = unmasked(sample, keys.bcp.parameters);
    const pairs = [{ left: value, right: value }];
    expect(await codeOf(call.subtract(csp.arithmetic, { keyId, pairs }))).toBe(
      'OUTPUT_NOT_ALLOWED',
    );
    expect(await codeOf(call.multiply(csp.arithmetic, { keyId, pairs }))).toBe(
      'OUTPUT_NOT_ALLOWED',
    );
  });
});

describe('every operation of the reference suite', () => {
  it('is in the audit log and is paid for, whichever it is, until the budget is spent', async () => {
    const { keys, csp, sample, register } = await stage(true, {
      patient: { perMinute: 0, perDay: 5 },
    });
    const keyId = await register('ward-3.bed-12', keys.keys);
    const value = unmasked(sample, keys.bcp.parameters);
    const pairs = [{ left: value, right: value }];
    const operations = [
      () => call.subtract(csp.arithmetic, { keyId, pairs }),
      () => call.multiply(csp.arithmetic, { keyId, pairs }),
      () => call.divide(csp.arithmetic, { keyId, divisor: 1, values: [value] }),
      () => call.invertMatrix(csp.arithmetic, { keyId, dimension: 1, entries: [value] }),
      () => call.open(csp.arithmetic, { keyId, values: [value] }),
    ];
    for (const operation of operations) expect(await codeOf(operation())).toBeUndefined();
    const methods = (await csp.audited()).match(/(?<="event":"distance","method":")\w+/g);
    expect(methods).toEqual(['Subtract', 'Multiply', 'Divide', 'InvertMatrix', 'Open']);
    for (const operation of operations) expect(await codeOf(operation())).toBe('BUDGET_EXCEEDED');
  });
});

describe('a matrix in training that is singular where a guess of a reading is right', () => {
  it('is answered like any other; an error would say which guess is right', async () => {
    const { keys, csp, plan, sample } = await stage(false);
    expect(messageCounts(plan).matrixRow).toBe(2);
    const { key } = keys.csp;
    const shape = shapeOf(schema, 3, THRESHOLDS);
    const attack = async (guess: bigint) => {
      const guessed = guess + ((guess * guess) << BigInt(plan.featureSlots.bits));
      const one = elementAt(await key.encrypt([1n], random), 0);
      const nothing = elementAt(await key.encrypt([0n], random), 0);
      const difference = key.add(sample.b as AdditiveCiphertext, -guessed);
      // (φ(x) - guess, 0; 0, 1), an entry a ciphertext.
      const rows = [difference, nothing, nothing, one].map((element) => key.encode(element));
      // A CSP that refuses what has no inverse says so to who guesses.
      const entries = await keys.csp.opening.open(await key.decode(rows, 'rows'));
      const slots = entries.map((entry) => unpack(entry, plan.matrixSlots.bits, 1));
      const matrix = inParts(slots.flat(), 2);
      const refused = invertMatrix(matrix, plan.field.order) === undefined;
      const { columns, determinant } = await call.invertGram(csp.packed, { shape, rows });
      const decoded = await key.decode([...columns, determinant], 'answer');
      return { refused, count: decoded.length, opened: await keys.csp.opening.open(decoded) };
    };
    // With the master key, which a service provider has not, it shows that the guess went in.
    const right = await attack(READING);
    expect(right.opened.at(-1)).toBe(0n);
    const wrong = await attack(READING + 1n);
    expect(wrong.opened.at(-1)).not.toBe(0n);
    expect([right.refused, wrong.refused]).toEqual([true, false]);
    // Without it, both are answers of the same form.
    expect(right.count).toBe(wrong.count);
  });
});
