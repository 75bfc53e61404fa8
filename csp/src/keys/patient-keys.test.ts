import { Bcp, encodeKey, generateKeyPair, provePossession } from '@duoveil/common/bcp';
import { createPortableEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import { parsePatientId } from '@duoveil/common/runtime';
import { beforeEach, describe, expect, it } from 'vitest';

import { setUpForTests } from '../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { PatientKeys } from './patient-keys.js';

const engine = createPortableEngine({ threads: 0 });
const { parameters } = await setUpForTests(512, 'residue', engine, new SeededRandom('keys'));
const bcp = new Bcp(parameters, engine);
const patients = await Promise.all(
  ['a', 'b', 'c', 'd'].map(async (name) => {
    const id = parsePatientId(name, 'patient');
    const keys = await generateKeyPair(bcp, systemRandom);
    const proof = await provePossession(bcp, keys, id, systemRandom);
    return { id, publicKey: keys.publicKey, key: encodeKey(keys.publicKey, proof, parameters) };
  }),
);

/** One of the patients. */
function patient(index: number) {
  const found = patients[index];
  if (found === undefined) throw new Error('there are four');
  return found;
}

let registry: PatientKeys;
beforeEach(() => {
  registry = new PatientKeys(bcp, 3);
});

const register = (index: number): Promise<Buffer> => {
  const { id, key } = patient(index);
  return registry.register(id, key);
};

describe("patients' keys", () => {
  it('are found by the name that they were given, the same each time', async () => {
    const name = await register(0);
    expect(name).toHaveLength(32);
    expect(await register(0)).toEqual(name);
    expect(registry.find(name).key.publicKey).toBe(patient(0).publicKey);
    expect(registry.find(name).patient).toBe(patient(0).id);
    expect(await register(1)).not.toEqual(name);
    // The same object: what it has prepared is not lost by registering again.
    const found = registry.find(name);
    await register(0);
    expect(registry.find(name)).toBe(found);
  });

  it('are not registered without a proof of their own patient', async () => {
    const { key } = patient(0);
    await expect(registry.register(patient(1).id, key)).rejects.toMatchObject({
      code: 'KEY_INVALID',
    });
    const { publicKey } = patient(1).key;
    await expect(registry.register(patient(0).id, { ...key, publicKey })).rejects.toMatchObject({
      code: 'KEY_INVALID',
    });
    expect(() => registry.find(Buffer.alloc(32))).toThrow('register it and try again');
  });

  it('are bounded: the one that was used least recently is forgotten', async () => {
    const names = [await register(0), await register(1), await register(2)];
    const [first = Buffer.alloc(0), second = Buffer.alloc(0), third = Buffer.alloc(0)] = names;
    registry.find(first);
    const fourth = await register(3);
    expect(() => registry.find(second)).toThrow(
      expect.objectContaining({ code: 'KEY_NOT_REGISTERED' }) as Error,
    );
    for (const name of [first, third, fourth]) expect(registry.find(name)).toBeDefined();
    await register(1);
    expect(registry.find(second).key.publicKey).toBe(patient(1).publicKey);
    expect(() => registry.find(first)).toThrow('not registered');
  });
});
