import { access, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Secret } from '@duoveil/common/secret';
import { describe, expect, it } from 'vitest';

import { cspCommand } from './cli.js';
import { cspInitSettings } from './config.js';
import { unseal } from './custody-commands.js';
import { init } from './init.js';
import { readShare } from './keys/shares.js';
import { lockState } from './state-lock.js';
import { givenSecrets } from './unsealing-secrets.js';

const state = join(tmpdir(), 'duoveil-never-made');
const ignored = (): void => undefined;
const key = 'ab'.repeat(32);

describe('csp init', () => {
  it.each([
    [{}, 'OPTION_INVALID', /sealed with something: set --passphrase-file or DUOVEIL_PASSPHRASE/],
    [{ shares: '4/3' }, 'OPTION_INVALID', /--shares: 4\/3: must be k\/n with 2 ≤ k ≤ n ≤ 255/],
    [{ shares: '1/3' }, 'OPTION_INVALID', /--shares/],
    [{ shares: '3/256' }, 'OPTION_INVALID', /--shares/],
    [{ key: new Secret('abcd') }, 'CONFIG_INVALID', /key: must be 32 random bytes/],
  ])('with %o says what would be right, and makes nothing', async (given, code, message) => {
    const settings = cspInitSettings.parse({ state, ...given });
    await expect(init(settings, ignored)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
    await expect(access(state)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('prints the shares where they are to go to no directory', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-init-'));
    const printed: string[] = [];
    const settings = { state: join(directory, 'state'), shares: '2/2', keyBits: 512 };
    await init(cspInitSettings.parse({ ...settings, insecureKeyBits: true }), (text) =>
      printed.push(text),
    );
    expect(printed.map((text) => readShare(new Secret(text)).index)).toEqual([1, 2]);
    expect(await readdir(directory)).toEqual(['state']);
    await rm(directory, { recursive: true });
  });

  it('does not write over the shares of another custody', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-init-'));
    const settings = (name: string, shares: string) =>
      cspInitSettings.parse({
        ...{ state: join(directory, name), sharesDirectory: join(directory, 'shares'), shares },
        ...{ keyBits: 512, insecureKeyBits: true },
      });
    await init(settings('first', '2/2'), ignored);
    const share = join(directory, 'shares', 'share-2-of-2.txt');
    const written = await readFile(share, 'utf8');
    for (const shares of ['2/2', '2/3']) {
      await expect(init(settings('second', shares), ignored)).rejects.toMatchObject({
        code: 'OPTION_INVALID',
        message: expect.stringMatching(/share-\d-of-2\.txt is there already/) as string,
      });
    }
    expect(await readFile(share, 'utf8')).toBe(written);
    expect((await readdir(directory)).sort()).toEqual(['first', 'shares']);
    await rm(directory, { recursive: true });
  });

  it('takes shares only in their own form', () => {
    for (const shares of ['3', '3/', 'a/b', '3 of 5']) {
      expect(cspInitSettings.safeParse({ state, shares }).success).toBe(false);
    }
  });
});

describe('csp unseal', () => {
  it('takes one secret', async () => {
    const at = { csp: 'nowhere:1', tls: state };
    const two = { passphrase: new Secret('p'), key: new Secret(key) };
    for (const given of [{}, two, { share: new Secret('s'), passphrase: new Secret('p') }]) {
      await expect(unseal({ ...at, ...given })).rejects.toMatchObject({
        code: 'OPTION_INVALID',
        message: expect.stringContaining('unseal takes one secret: --share-file') as string,
      });
    }
  });
});

describe('a key', () => {
  it('is written in hexadecimal digits or base64', () => {
    for (const text of [key, key.toUpperCase(), Buffer.from(key, 'hex').toString('base64')]) {
      const [given] = givenSecrets({ key: new Secret(` ${text}\n`) });
      expect(given?.kind === 'key' && [...given.key.reveal()]).toEqual(Array(32).fill(0xab));
    }
    const error = (text: string): unknown => {
      try {
        return givenSecrets({ key: new Secret(text) });
      } catch (thrown) {
        return thrown;
      }
    };
    expect(error(`${key}00`)).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(String(error(`${key}00`))).not.toContain(key);
  });
});

describe('a state directory', () => {
  it('is of one CSP at a time', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-state-'));
    const lock = await lockState(directory);
    await expect(lockState(directory)).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('is another CSP running on it?') as string,
    });
    for (const name of await readdir(directory)) {
      expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
    }
    lock.release();
    (await lockState(directory)).release();
    await rm(directory, { recursive: true });
    await expect(lockState(directory)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('no such directory') as string,
    });
  });
});

describe('csp audit', () => {
  it('does not call a log unbroken that is gone', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-audit-'));
    const command = cspCommand();
    await expect(
      command.parseAsync(['audit', '--state', directory], { from: 'user' }),
    ).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await rm(directory, { recursive: true });
  });
});
