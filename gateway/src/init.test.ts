import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { isDuoveilError } from '@duoveil/common/errors';
import type { ErrorCode } from '@duoveil/common/errors';
import { writeCredentials } from '@duoveil/common/runtime';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';

import { FAST, PARAMETERS, PATIENT, TestBed } from './fixture.js';
import { describeFirstRows } from './first-rows.js';
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
    ...{ withinMs: 500, keepZeros: false },
    generateKeyFile: join(bed.directory, `keys-${tests}`, 'sealing.key'),
  };
});
afterAll(() => bed.close());

const MAPPING = `broker: mqtts://broker.example:8883
clientId: ward-7
message: { topic: vitals, channels: { HR: /HR, SpO2: /SpO2 } }
`;

const none = { name: '', rows: 0, complete: 0, skipped: undefined };

async function file(content: string, name: string): Promise<string> {
  const path = join(bed.directory, `${tests}-${name}`);
  await writeFile(path, content);
  return path;
}

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
    const input = await file('HR,PULSE,RESP,SpO2\n70,70,15,97\n70,70,,97\n', 'in.csv');
    const given = { ...options, generateKeyFile: undefined, passphraseFile, input };
    const { settings, firstRows } = await initialise(given);
    const text = await readFile(settings, 'utf8');
    expect(parse(text)).toMatchObject({ passphraseFile, input });
    expect(text).not.toContain('horse');
    expect(firstRows).toMatchObject({ rows: 2, complete: 1, skipped: 'RESP is missing' });
    expect(describeFirstRows(firstRows ?? none)).toBe(
      `first rows of ${input}: 1 of 2 complete (RESP is missing)`,
    );
  });

  it('reads so many rows of a recording, and finds what is wrong in them', async () => {
    const channels = 'HR,SpO2';
    const input = await file(`HR,SpO2\n${'70,97\n'.repeat(100)}7"0,97\n`, 'long.csv');
    const torn = await file('HR,SpO2\n70,97\n7"0,97\n', 'torn.csv');
    await expectRefusal({ input: torn, channels }, 'INPUT_INVALID', /torn.csv/);
    // The default channels are not all there.
    await expectRefusal({ input }, 'INPUT_INVALID', /PULSE/);
    await expectRefusal({ input: '/none.csv' }, 'INPUT_INVALID', /none.csv/);
    await expectRefusal({ input, channels: 'HR,none' }, 'OPTION_INVALID', /--channels/);
    await expect(stat(options.state)).rejects.toThrow(/ENOENT/);
    const { firstRows, settings } = await initialise({ ...options, input, channels });
    expect(firstRows).toMatchObject({ rows: 100, complete: 100, skipped: undefined });
    expect(parse(await readFile(settings, 'utf8'))).toMatchObject({ channels: ['HR', 'SpO2'] });
  });

  it('takes a broker, whose mapping is decoded, and talks to nobody', async () => {
    const mapping = await file(MAPPING, 'mapping.yaml');
    const broker = { source: 'mqtt', mapping, channels: ['HR', 'SpO2'] } as const;
    const others = { ...broker, channels: undefined };
    await expectRefusal(others, 'CONFIG_INVALID', /"PULSE" is monitored but not mapped/);
    const wrong = await file(MAPPING.replace('topic: vitals', 'topic: "#"'), 'wrong.yaml');
    await expectRefusal({ ...broker, mapping: wrong }, 'CONFIG_INVALID', /wrong.yaml/);
    await expectRefusal({ mapping }, 'OPTION_INVALID', /--mapping is for --source mqtt/);
    await expectRefusal({ source: 'csv' }, 'OPTION_INVALID', /--input is needed/);
    await expect(stat(options.state)).rejects.toThrow(/ENOENT/);
    const { settings, firstRows } = await initialise({ ...options, ...broker });
    expect(parse(await readFile(settings, 'utf8'))).toMatchObject(broker);
    expect(firstRows).toBeUndefined();
  });

  it('takes standard input, and leaves it alone', async () => {
    const live = { source: 'ndjson', input: '-' } as const;
    const { settings } = await initialise({ ...options, ...live });
    expect(parse(await readFile(settings, 'utf8'))).toMatchObject(live);
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
