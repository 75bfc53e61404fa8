import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { readSecretSetting } from './secret-setting.js';
import { flagName, resolveSettings, secretSetting, variableName } from './settings.js';

const schema = z.object({
  listen: z.string().default('127.0.0.1:7001'),
  window: z.int().min(2).default(60),
  realtime: z.boolean().default(false),
  channels: z.array(z.string()).optional(),
  tls: z.object({ caFile: z.string(), port: z.coerce.number().optional() }),
  passphrase: secretSetting().optional(),
});

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-settings-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const yaml = async (text: string): Promise<string> => {
  const path = join(directory, 'duoveil.yaml');
  await writeFile(path, text);
  return path;
};

describe('settings', () => {
  it('have names in every layer', () => {
    expect(flagName(['tls', 'caFile'])).toBe('--tls-ca-file');
    expect(variableName(['tls', 'caFile'])).toBe('DUOVEIL_TLS_CA_FILE');
  });

  it('prefer a flag to a variable, that to the file, and that to the default', async () => {
    const file = await yaml('window: 10\nlisten: file:1\ntls: {caFile: file.crt}\nrealtime: true');
    const environment = { DUOVEIL_WINDOW: '20', DUOVEIL_TLS_CA_FILE: 'variable.crt' };
    const flags = { window: '30' };
    const resolve = (sources: object) => resolveSettings({ schema, environment: {}, ...sources });

    expect(await resolve({ flags, environment, file })).toEqual({
      window: 30,
      listen: 'file:1',
      realtime: true,
      tls: { caFile: 'variable.crt' },
    });
    expect(await resolve({ environment, file })).toMatchObject({ window: 20 });
    expect(await resolve({ file })).toMatchObject({ window: 10, tls: { caFile: 'file.crt' } });
    expect(await resolve({ flags: { tlsCaFile: 'a' } })).toEqual({
      listen: '127.0.0.1:7001',
      window: 60,
      realtime: false,
      tls: { caFile: 'a' },
    });
  });

  it('read text as what the schema wants', async () => {
    const environment = {
      DUOVEIL_TLS_CA_FILE: '12',
      DUOVEIL_REALTIME: 'true',
      DUOVEIL_CHANNELS: 'HR, SpO2',
      DUOVEIL_TLS_PORT: '7',
      DUOVEIL_WINDOW: '',
    };
    expect(await resolveSettings({ schema, environment })).toMatchObject({
      tls: { caFile: '12', port: 7 },
      realtime: true,
      channels: ['HR', 'SpO2'],
      window: 60,
    });
  });

  it('name the layer and the key that is wrong', async () => {
    const base = { schema, environment: { DUOVEIL_TLS_CA_FILE: 'a' } };
    await expect(resolveSettings({ ...base, flags: { window: 'x' } })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      details: { option: '--window' },
    });
    await expect(
      resolveSettings({ schema, environment: { ...base.environment, DUOVEIL_WINDOW: '1' } }),
    ).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      details: { option: 'DUOVEIL_WINDOW' },
      message: expect.stringMatching(/DUOVEIL_WINDOW: .*2/) as unknown,
    });
    const invalid = async (text: string, path: string, message: RegExp) => {
      await expect(resolveSettings({ ...base, file: await yaml(text) })).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        details: { path },
        message: expect.stringMatching(message) as unknown,
      });
    };
    await invalid('window: many', 'window', /duoveil\.yaml: window: .*number/);
    await invalid('windw: 5', 'windw', /windw: no such setting; there are listen, window/);
    await invalid('tls: {cafile: x}', 'tls.cafile', /tls\.cafile: no such setting/);
    await invalid('tls: 5', 'tls', /tls: must be a mapping/);
    await invalid('- 5', 'config', /must be a mapping/);
    await invalid('a: [1', 'config', /not YAML at line 1/);
    await invalid('passphrase: x', 'passphrase', /passphraseFile/);
    await expect(resolveSettings({ schema, environment: {} })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      details: { option: '--tls-ca-file' },
      message: expect.stringContaining('DUOVEIL_TLS_CA_FILE') as unknown,
    });
    await expect(
      resolveSettings({ ...base, file: join(directory, 'none.yaml') }),
    ).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('take a secret from a file or the environment, never from a flag', async () => {
    const secretFile = join(directory, 'secret');
    await writeFile(secretFile, 'from the file\n');
    const environment = { DUOVEIL_TLS_CA_FILE: 'a' };

    const fromFile = await resolveSettings({
      schema,
      environment,
      flags: { passphraseFile: secretFile },
    });
    expect(fromFile.passphrase?.reveal()).toBe('from the file');
    const named = await yaml(`passphraseFile: ${secretFile}`);
    const fromNamed = await resolveSettings({ schema, environment, file: named });
    expect(fromNamed.passphrase?.reveal()).toBe('from the file');
    const fromVariable = await resolveSettings({
      schema,
      environment: { ...environment, DUOVEIL_PASSPHRASE: 'from the variable' },
    });
    expect(fromVariable.passphrase?.reveal()).toBe('from the variable');
    expect(JSON.stringify(fromVariable)).not.toContain('from the variable');

    const refused: unknown = await resolveSettings({
      schema,
      environment,
      flags: { passphrase: 'from the flag' },
    }).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'OPTION_INVALID',
      details: { option: '--passphrase' },
    });
    expect(String(refused)).not.toContain('from the flag');
  });

  it('say where a needed secret may be set', async () => {
    const needing = z.object({ key: secretSetting() });
    await expect(resolveSettings({ schema: needing, environment: {} })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: 'key is needed: set --key-file or DUOVEIL_KEY',
    });
    const secret = await resolveSettings({
      schema: needing,
      environment: { DUOVEIL_KEY: 'k' },
    });
    expect(secret.key.reveal()).toBe('k');
  });
});

describe('a secret setting', () => {
  it('must not come from two places, nor be empty', async () => {
    const file = join(directory, 'secret');
    await writeFile(file, '\n');
    const setting = { setting: 'passphrase', env: 'DUOVEIL_PASSPHRASE' };
    await expect(
      readSecretSetting({ ...setting, file, environment: { DUOVEIL_PASSPHRASE: 'x' } }),
    ).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    await expect(readSecretSetting({ ...setting, file, environment: {} })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: `passphrase: ${file} is empty`,
    });
    await expect(readSecretSetting({ ...setting, environment: {} })).resolves.toBeUndefined();
  });

  it('is taken out of the environment of the process', async () => {
    const env = 'DUOVEIL_SECRET_OF_A_TEST';
    process.env[env] = 'x';
    const secret = await readSecretSetting({ setting: 'secret', env });
    expect(secret?.reveal()).toBe('x');
    expect(process.env[env]).toBeUndefined();
  });
});
