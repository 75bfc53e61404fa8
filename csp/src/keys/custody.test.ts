import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { GENERATOR_FAMILIES } from '@duoveil/common/bcp';
import { createPortableEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import type { SealingSecret } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { setUpForTests } from '../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { loadMasterKey, requireUnused, storeMasterKey } from './custody.js';

const engine = createPortableEngine({ threads: 0 });
const key = await setUpForTests(512, 'residue', engine, new SeededRandom('custody'));
/** A key needs no derivation, which takes its time. */
const secret: SealingSecret = { kind: 'key', key: new Secret(Buffer.alloc(32, 7)) };
const passphrase: SealingSecret = { kind: 'passphrase', passphrase: new Secret('correct horse') };

let directory: string;
beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'duoveil-custody-')), 'state');
});
afterEach(() => rm(join(directory, '..'), { recursive: true }));

const store = (): Promise<void> => storeMasterKey(directory, key, secret, systemRandom);
const load = () => loadMasterKey(directory, secret, engine);

/** Changes what a file holds. */
async function change(
  name: string,
  how: (content: Record<string, unknown>) => unknown,
): Promise<void> {
  const file = join(directory, name);
  const content = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(file, JSON.stringify(how(content)));
}

describe('a master key', () => {
  it.each(GENERATOR_FAMILIES)('comes back as it was: %s', async (family) => {
    const other = await setUpForTests(512, family, engine, new SeededRandom(family));
    await storeMasterKey(directory, other, passphrase, systemRandom);
    const loaded = await loadMasterKey(directory, passphrase, engine);
    expect(loaded.parameters).toEqual(other.parameters);
    expect(loaded.factors.reveal()).toEqual(other.factors.reveal());
  });

  it('is for its owner only, and in no file in the clear', async () => {
    await store();
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    const { p, q } = key.factors.reveal();
    expect((await readdir(directory)).sort()).toEqual([
      'master-key.sealed.json',
      'parameters.json',
    ]);
    for (const name of await readdir(directory)) {
      const content = await readFile(join(directory, name), 'utf8');
      for (const factor of [p, q]) {
        const hex = factor.toString(16);
        const base64 = Buffer.from(hex, 'hex').toString('base64').slice(0, 20);
        for (const form of [hex.slice(0, 20), factor.toString().slice(0, 20), base64]) {
          expect(content).not.toContain(form);
        }
      }
    }
    const sealed = await stat(join(directory, 'master-key.sealed.json'));
    expect(sealed.mode & 0o777).toBe(0o600);
  });

  it('does not open with another secret', async () => {
    await store();
    await expect(
      loadMasterKey(directory, { kind: 'key', key: new Secret(Buffer.alloc(32, 8)) }, engine),
    ).rejects.toMatchObject({ code: 'UNSEALING_FAILED' });
    await storeMasterKey(directory, key, passphrase, systemRandom);
    for (const other of [
      { kind: 'passphrase', passphrase: new Secret('correct horsf') },
      secret,
    ] as const) {
      await expect(loadMasterKey(directory, other, engine)).rejects.toMatchObject({
        code: 'UNSEALING_FAILED',
      });
    }
  });

  it('does not open where anything beside it, or of it, was changed', async () => {
    const other = await setUpForTests(1024, 'residue', engine, new SeededRandom('other'));
    const flip = (text: unknown): string => {
      const bytes = Buffer.from(String(text), 'base64');
      bytes[0] = (bytes[0] ?? 0) ^ 1;
      return bytes.toString('base64');
    };
    const hex = (value: bigint): string => {
      const digits = value.toString(16);
      return digits.padStart(2 * Math.ceil(digits.length / 2), '0');
    };
    const sealed = 'master-key.sealed.json';
    const parameters = 'parameters.json';
    const changes: readonly (readonly [string, (content: Record<string, unknown>) => unknown])[] = [
      [sealed, (content) => ({ ...content, ciphertext: flip(content['ciphertext']) })],
      [sealed, (content) => ({ ...content, tag: flip(content['tag']) })],
      [sealed, (content) => ({ ...content, nonce: flip(content['nonce']) })],
      [sealed, (content) => ({ ...content, context: 'another' })],
      [sealed, () => ({})],
      [parameters, (content) => ({ ...content, digest: 'ab'.repeat(32) })],
      [parameters, (content) => ({ ...content, modulus: hex(other.parameters.modulus) })],
      [parameters, (content) => ({ ...content, generator: hex(key.parameters.generator + 1n) })],
      [parameters, (content) => ({ ...content, family: 1 })],
      [parameters, (content) => ({ ...content, version: 2 })],
      [parameters, (content) => ({ ...content, surplus: true })],
      [parameters, () => []],
    ];
    for (const [name, how] of changes) {
      await store();
      await change(name, how);
      await expect(load()).rejects.toMatchObject({
        code: expect.stringMatching(
          /^(UNSEALING_FAILED|PARAMETERS_INVALID|CONFIG_INVALID)$/,
        ) as string,
      });
    }
    await store();
    await load();
  });

  it('says which file is missing', async () => {
    await expect(load()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('parameters.json: no such file') as string,
    });
    await store();
    await rm(join(directory, 'master-key.sealed.json'));
    await expect(load()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('master-key.sealed.json: no such file') as string,
    });
  });

  it('is never written over', async () => {
    await requireUnused(directory);
    await store();
    await expect(requireUnused(directory)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    await rm(join(directory, 'parameters.json'));
    await expect(requireUnused(directory)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  });
});
