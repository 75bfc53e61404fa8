import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { isDuoveilError } from '@duoveil/common/errors';
import type { ErrorCode } from '@duoveil/common/errors';
import { writeCredentials } from '@duoveil/common/runtime';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';

import { FAST, PARAMETERS, PATIENT, TestBed } from './fixture.js';
import { initialise } from './init.js';
import type { InitOptions } from './init.js';

let bed: TestBed;
let tls: string;
let options: InitOptions;
let tests = 0;
beforeAll(async () => {
  bed = await TestBed.create();
  tls = join(bed.directory, 'tls');
  await writeCredentials(tls, await bed.credentials());
});
beforeEach(() => {
  tests += 1;
  options = {
    ...FAST,
    tls,
    sp: 'sp.example.org:7002',
    state: join(bed.directory, `state-${tests}`),
    parametersDigest: PARAMETERS.digest,
    generateKeyFile: join(bed.directory, `keys-${tests}`, 'sealing.key'),
  };
});
afterAll(() => bed.close());

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

async function expectRefusal(
  change: Partial<InitOptions>,
  code: ErrorCode,
  message: RegExp,
): Promise<void> {
  const error: unknown = await initialise({ ...options, ...change }).catch((e: unknown) => e);
  if (!isDuoveilError(error)) throw new Error('it was not refused', { cause: error });
  expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
}

describe('initialise', () => {
  it('makes a private state directory, a key file and settings that can be read', async () => {
    const { patient, settings } = await initialise(options);
    expect(patient).toBe(PATIENT);
    expect(settings).toBe(join(options.state, 'gateway.yaml'));
    expect(await modeOf(options.state)).toBe(0o700);
    expect(await modeOf(settings)).toBe(0o600);
    const keyFile = options.generateKeyFile ?? '';
    expect(await modeOf(keyFile)).toBe(0o600);
    const key = await readFile(keyFile, 'utf8');
    expect(key).toMatch(/^[0-9a-f]{64}\n$/);
    const text = await readFile(settings, 'utf8');
    expect(text).not.toContain(key.trim());
    expect(parse(text)).toEqual({
      sp: 'sp.example.org:7002',
      tls,
      state: options.state,
      parametersDigest: PARAMETERS.digest,
      keyFile,
    });
    expect(text.split('\n').filter((line) => line.startsWith('# ')).length).toBeGreaterThan(10);
  });

  it('takes a passphrase file, and what will be streamed', async () => {
    const passphraseFile = join(bed.directory, 'passphrase: "odd" # name');
    await writeFile(passphraseFile, 'correct horse\n', { mode: 0o600 });
    const given = { ...options, generateKeyFile: undefined, passphraseFile, input: '/in.csv' };
    const { settings } = await initialise(given);
    const text = await readFile(settings, 'utf8');
    expect(parse(text)).toMatchObject({ passphraseFile, input: '/in.csv' });
    expect(text).not.toContain('horse');
  });

  it('overwrites nothing, and writes nothing where something is wrong', async () => {
    await initialise(options);
    await expectRefusal({}, 'CONFIG_INVALID', /gateway.yaml is there already/);
    const state = `${options.state}-2`;
    await expectRefusal({ state }, 'CONFIG_INVALID', /sealing.key is there already/);
    await expect(stat(state)).rejects.toThrow(/ENOENT/);
  });

  it('says which permissions would be right', async () => {
    await mkdir(options.state, { mode: 0o755 });
    await chmod(options.state, 0o755);
    await expectRefusal({}, 'CONFIG_INVALID', /--state: .* chmod 0700 /);
    const keyFile = join(bed.directory, `open-${tests}.key`);
    await writeFile(keyFile, '07'.repeat(32));
    await chmod(keyFile, 0o644);
    const change = { keyFile, generateKeyFile: undefined, state: `${options.state}-2` };
    await expectRefusal(change, 'CONFIG_INVALID', /--key-file: .* chmod 0600 /);
    const tlsKey = join(tls, 'tls.key');
    await chmod(tlsKey, 0o644);
    await expectRefusal({}, 'CONFIG_INVALID', /--tls: .*tls.key .* chmod 0640 /);
    await chmod(tlsKey, 0o640);
    await initialise({ ...options, state: `${options.state}-3` });
    await chmod(tlsKey, 0o600);
  });

  it.each<[string, Partial<InitOptions>, ErrorCode, RegExp]>([
    ['an address', { sp: 'sp.example.org' }, 'CONFIG_INVALID', /--sp/],
    ['a digest', { parametersDigest: 'abc' }, 'OPTION_INVALID', /--parameters-digest/],
    ['a certificate', { tls: '/none' }, 'CONFIG_INVALID', /\/none\/\S+: no such file/],
    ['no secret', { generateKeyFile: undefined }, 'OPTION_INVALID', /not none: give --generate/],
    ['two secrets', { keyFile: '/none' }, 'OPTION_INVALID', /not several/],
    [
      'a key file that is not there',
      { keyFile: '/none', generateKeyFile: undefined },
      'CONFIG_INVALID',
      /--key-file: \/none: no such file/,
    ],
  ])('refuses %s that is wrong', async (_, change, code, message) => {
    await expectRefusal(change, code, message);
    await expect(stat(options.state)).rejects.toThrow(/ENOENT/);
  });
});
