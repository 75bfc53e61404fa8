import { access, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { acceptPublicKey, Bcp, keyPairOf, publicParameters } from '@duoveil/common/bcp';
import type { ParametersDigest } from '@duoveil/common/bcp';
import { DEFAULT_CHANNELS, parsePolicy } from '@duoveil/common/encoding';
import { duoveilError, isDuoveilError } from '@duoveil/common/errors';
import type { ErrorCode } from '@duoveil/common/errors';
import { createPortableEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import { parsePatientId } from '@duoveil/common/runtime';
import type { SealingSecret } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { enrol } from './enrol.js';
import type { EnrolOptions } from './enrol.js';
import { FAST, PARAMETERS, PATIENT, POLICY, SCHEMA, TestBed } from './fixture.js';
import { openSpool } from './spool-key.js';
import { stateFiles } from './state-files.js';
import { readSecretKey, readState, requireState } from './state.js';

const engine = createPortableEngine({ threads: 0 });
const secret: SealingSecret = { kind: 'key', key: new Secret(Buffer.alloc(32, 7)) };

let bed: TestBed;
let directory: string;
let asked = 0;
let options: EnrolOptions;
beforeEach(async () => {
  bed = await TestBed.create();
  await bed.sp.start();
  directory = join(bed.directory, 'state');
  asked = 0;
  options = {
    connection: await bed.connect(),
    patient: PATIENT,
    trustDomain: 'test.internal',
    directory,
    pinned: PARAMETERS.digest,
    schema: SCHEMA,
    policy: POLICY,
    insecureKeyBits: true,
    sealingSecret: () => {
      asked += 1;
      return Promise.resolve(secret);
    },
    engine,
    random: systemRandom,
    logger: FAST.logger,
    sleep: () => Promise.resolve(),
  };
});
afterEach(async () => {
  await bed.close();
});

async function expectRefusal(change: Partial<EnrolOptions>, code: ErrorCode): Promise<Error> {
  const error: unknown = await enrol({ ...options, ...change }).catch((thrown: unknown) => thrown);
  if (!isDuoveilError(error)) throw error;
  expect(error.code).toBe(code);
  return error;
}

describe('enrol', () => {
  it('makes a key that only its own secret opens, and proves possession', async () => {
    const { state, newKey } = await enrol(options);
    expect(newKey).toBe(true);
    expect(await readState(directory)).toEqual(state);
    const [request] = bed.sp.enrolments;
    expect(request).toMatchObject({ patientId: PATIENT, policy: { window: 4 } });
    expect(request?.channels.map(({ name, minimum }) => [name, minimum])).toEqual([
      ['HR', '20'],
      ['SpO2', '30'],
    ]);
    const bcp = new Bcp(PARAMETERS, engine);
    const publicKey = await acceptPublicKey(bcp, state.key, PATIENT);
    const secretKey = await readSecretKey(directory, PATIENT, PARAMETERS, secret);
    if (secretKey === undefined) throw new Error('there is no secret key');
    expect((await keyPairOf(bcp, secretKey)).publicKey).toBe(publicKey);
    const file = await readFile(stateFiles(directory).secretKey, 'utf8');
    expect(file).not.toContain(secretKey.reveal().toString(16));
    expect((await stat(stateFiles(directory).secretKey)).mode & 0o777).toBe(0o600);
    const other: SealingSecret = { kind: 'key', key: new Secret(Buffer.alloc(32, 8)) };
    await expect(readSecretKey(directory, PATIENT, PARAMETERS, other)).rejects.toThrow(/wrong/);
  });

  it('is idempotent: the same key and proof, without asking for the secret', async () => {
    await enrol(options);
    expect((await enrol(options)).newKey).toBe(false);
    expect(bed.sp.enrolments).toHaveLength(2);
    expect(bed.sp.enrolments[1]).toEqual(bed.sp.enrolments[0]);
    expect(asked).toBe(1);
  });

  it('makes a spool key under the same secret, and again where it was lost', async () => {
    await enrol(options);
    const spool = { directory, patient: PATIENT, random: systemRandom, logger: FAST.logger };
    const other: SealingSecret = { kind: 'key', key: new Secret(Buffer.alloc(32, 8)) };
    (await openSpool({ ...spool, secret })).close();
    await expect(openSpool({ ...spool, secret: other })).rejects.toThrow(/wrong secret/);
    await rm(stateFiles(directory).spoolKey);
    await expect(openSpool({ ...spool, secret })).rejects.toThrow(
      /run "duoveil gateway enrol" again/,
    );
    // Not under another secret than the patient's own key.
    await expectRefusal({ sealingSecret: () => Promise.resolve(other) }, 'UNSEALING_FAILED');
    expect((await enrol(options)).newKey).toBe(false);
    // The spool that is there was sealed with the key that was lost.
    await expect(openSpool({ ...spool, secret })).rejects.toThrow(/another spool key/);
    await rm(stateFiles(directory).spool);
    (await openSpool({ ...spool, secret })).close();
  });

  it('has the key on disk before the service provider hears of it', async () => {
    const seen: boolean[] = [];
    bed.sp.onEnrol = async () => {
      for (const file of [stateFiles(directory).gateway, stateFiles(directory).secretKey]) {
        seen.push(
          await access(file).then(
            () => true,
            () => false,
          ),
        );
      }
      throw duoveilError('PATIENT_CONFLICT', 'refused', { field: 'public_key' });
    };
    await expectRefusal({}, 'PATIENT_CONFLICT');
    expect(seen).toEqual([true, true]);
  });

  it('takes the key that a crash left behind, at either point', async () => {
    const { state } = await enrol(options);
    await rm(stateFiles(directory).gateway);
    const again = await enrol(options);
    expect(again.state.key.publicKey).toEqual(state.key.publicKey);
    expect(bed.sp.enrolments[1]?.publicKey).toEqual(bed.sp.enrolments[0]?.publicKey);
  });

  it('tries again where the service provider is not ready', async () => {
    let calls = 0;
    bed.sp.onEnrol = () => {
      calls += 1;
      if (calls < 3) throw duoveilError('NOT_READY', 'later');
    };
    await enrol(options);
    expect(bed.sp.enrolments).toHaveLength(1);
  });

  it.each([
    ['window', { policy: { ...POLICY, window: 5 } }],
    ['thresholdScaled', { policy: { ...POLICY, thresholdScaled: 1n } }],
    ['schema', { schema: { channels: DEFAULT_CHANNELS.slice(0, 2) } }],
    ['patient', { patient: parsePatientId('patient-2', 'patient') }],
  ] as const)('refuses to enrol with another %s', async (field, change) => {
    await enrol(options);
    const error = await expectRefusal(change, 'PATIENT_CONFLICT');
    expect(error).toMatchObject({ details: { field } });
    expect(error.message).toContain(`another ${field}`);
    expect(bed.sp.enrolments).toHaveLength(1);
  });

  it('refuses parameters that are not pinned, too short, or no parameters', async () => {
    await expectRefusal({ pinned: '0'.repeat(64) as ParametersDigest }, 'PARAMETERS_MISMATCH');
    await expectRefusal({ insecureKeyBits: false }, 'OPTION_INVALID');
    bed.sp.parameters = publicParameters('residue', PARAMETERS.modulus + 1n, 5n);
    await expectRefusal({}, 'PARAMETERS_INVALID');
    expect(await readState(directory)).toBeUndefined();
    expect(asked).toBe(0);
  });

  it('refuses what does not fit the modulus', async () => {
    const schema = { channels: DEFAULT_CHANNELS };
    const fields = { ...POLICY, window: 4096 };
    const policy = parsePolicy(fields, schema, 'the policy');
    const large = { channels: [...DEFAULT_CHANNELS, ...renamed(DEFAULT_CHANNELS)] };
    await expectRefusal({ schema: large, policy }, 'BOUNDS_EXCEEDED');
    expect(bed.sp.enrolments).toHaveLength(0);
  });
});

describe('readState', () => {
  it('refuses a file that is damaged', async () => {
    await enrol(options);
    const { gateway } = stateFiles(directory);
    const content = await readFile(gateway, 'utf8');
    await writeFile(gateway, content.replace(/"modulus": "./, '"modulus": "1'));
    await expect(readState(directory)).rejects.toThrow(/digest/);
    await writeFile(gateway, content.replace('"window": 4', '"window": 3'));
    await expect(readState(directory)).rejects.toThrow(/window must be a whole number from 4/);
    await writeFile(gateway, content.slice(0, 100));
    await expect(readState(directory)).rejects.toThrow(/not JSON/);
  });

  it('says what to do where there is none', async () => {
    await expect(requireState(directory)).rejects.toThrow(/run "duoveil gateway enrol" first/);
  });
});

function renamed(channels: typeof DEFAULT_CHANNELS): typeof DEFAULT_CHANNELS {
  return channels.map((channel) => ({ ...channel, name: `${channel.name} 2` }));
}
