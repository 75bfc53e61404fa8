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
import { loadMasterKey, storeMasterKey } from '../../../harness/test/support/custody.js';
import { Custody, requireUnused, type CustodyEnvironment } from './custody.js';
import type { HandedShare } from './shares.js';

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

/** In place of what the directory holds. */
const store = async (): Promise<void> => {
  await rm(directory, { recursive: true, force: true });
  await storeMasterKey(directory, key, secret, systemRandom);
};
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
    expect((await readdir(directory)).sort()).toEqual(['custody.json', 'generation-0001.json']);
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
    for (const name of await readdir(directory)) {
      expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
    }
  });

  it('does not open with another secret', async () => {
    await store();
    await expect(
      loadMasterKey(directory, { kind: 'key', key: new Secret(Buffer.alloc(32, 8)) }, engine),
    ).rejects.toMatchObject({ code: 'UNSEALING_FAILED' });
    await rm(directory, { recursive: true });
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
    type Content = Record<string, unknown>;
    const generation = 'generation-0001.json';
    const custody = 'custody.json';
    const inKey = (field: string, how: (value: unknown) => unknown) => (content: Content) => {
      const sealedKey = content['sealedKey'] as Content;
      return { ...content, sealedKey: { ...sealedKey, [field]: how(sealedKey[field]) } };
    };
    const inParameters = (changed: Content) => (content: Content) => ({
      ...content,
      parameters: { ...(content['parameters'] as Content), ...changed },
    });
    const inLock = (field: string, how: (value: unknown) => unknown) => (content: Content) => {
      const [lock] = content['locks'] as { kind: string; sealed: Content }[];
      const sealed = { ...lock?.sealed, [field]: how(lock?.sealed[field]) };
      return { ...content, locks: [{ ...lock, sealed }] };
    };
    const changes: readonly (readonly [string, (content: Content) => unknown])[] = [
      [generation, inKey('ciphertext', flip)],
      [generation, inKey('tag', flip)],
      [generation, inKey('nonce', flip)],
      [generation, inKey('context', () => 'another')],
      [generation, (content) => ({ ...content, sealedKey: {} })],
      [generation, (content) => ({ ...content, number: 2 })],
      [generation, (content) => ({ ...content, surplus: true })],
      [generation, (content) => ({ ...content, retiredAt: '2026-01-01T00:00:00.000Z' })],
      [generation, inParameters({ digest: 'ab'.repeat(32) })],
      [generation, inParameters({ modulus: hex(other.parameters.modulus) })],
      [generation, inParameters({ generator: hex(key.parameters.generator + 1n) })],
      [generation, inParameters({ family: 1 })],
      [generation, inParameters({ version: 2 })],
      [generation, () => []],
      [custody, inLock('ciphertext', flip)],
      [custody, inLock('tag', flip)],
      [custody, inLock('context', () => 'another')],
      [custody, (content) => ({ ...content, id: '0'.repeat(32) })],
      [custody, (content) => ({ ...content, locks: [] })],
      [custody, () => ({})],
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
      message: expect.stringContaining('custody.json: no such file') as string,
    });
    await store();
    await rm(join(directory, 'generation-0001.json'));
    await expect(load()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('holds no generation of keys') as string,
    });
  });

  it('is never written over', async () => {
    await requireUnused(directory);
    await store();
    await expect(requireUnused(directory)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    await rm(join(directory, 'custody.json'));
    await expect(requireUnused(directory)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  });
});

describe('generations', () => {
  const environment: CustodyEnvironment = {
    ...{ engine, random: systemRandom },
    now: () => new Date(Date.UTC(2026, 2, 3)),
  };
  const reopened = async () => {
    const custody = await Custody.read(directory, environment);
    const custodyKey = await custody.unlock(secret);
    if (custodyKey === undefined) throw new Error('it does not open');
    return { custody, custodyKey };
  };

  it('are added under the same locks, and all of them open', async () => {
    await store();
    const { custody, custodyKey } = await reopened();
    const second = await setUpForTests(512, 'residue', engine, new SeededRandom('second'));
    await custody.add(second, custodyKey);
    expect(custody.newest.number).toBe(2);
    const again = await reopened();
    const opened = await again.custody.open(again.custodyKey);
    expect(opened.map(({ generation }) => generation.number)).toEqual([1, 2]);
    expect(opened.map((one) => one.key.factors.reveal())).toEqual(
      [key, second].map(({ factors }) => factors.reveal()),
    );
  });

  it('are not written over by somebody else who adds one', async () => {
    await store();
    const [one, other] = [await reopened(), await reopened()];
    const second = await setUpForTests(512, 'residue', engine, new SeededRandom('second'));
    await one.custody.add(second, one.custodyKey);
    const late = await setUpForTests(512, 'residue', engine, new SeededRandom('late'));
    await expect(other.custody.add(late, other.custodyKey)).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
    });
    expect(other.custody.newest.number).toBe(1);
    const again = await reopened();
    const opened = await again.custody.open(again.custodyKey);
    expect(opened.map((each) => each.key.factors.reveal())).toEqual(
      [key, second].map(({ factors }) => factors.reveal()),
    );
  });

  it('do not stand in for one another', async () => {
    await store();
    const { custody, custodyKey } = await reopened();
    const second = await setUpForTests(512, 'residue', engine, new SeededRandom('second'));
    await custody.add(second, custodyKey);
    const name = 'generation-0002.json';
    const { sealedKey } = JSON.parse(await readFile(join(directory, name), 'utf8')) as {
      sealedKey: unknown;
    };
    await change('generation-0001.json', (content) => ({ ...content, sealedKey }));
    const again = await reopened();
    await expect(again.custody.open(again.custodyKey)).rejects.toMatchObject({
      code: 'UNSEALING_FAILED',
    });
  });

  it('lose their master key when they are retired, and never the newest', async () => {
    await store();
    const { custody, custodyKey } = await reopened();
    const refused = { code: 'MESSAGE_INVALID', details: { field: 'generation' } };
    await expect(custody.retire(1)).rejects.toMatchObject(refused);
    await custody.add(
      await setUpForTests(512, 'residue', engine, new SeededRandom('second')),
      custodyKey,
    );
    await expect(custody.retire(2)).rejects.toMatchObject(refused);
    await expect(custody.retire(3)).rejects.toMatchObject(refused);
    await custody.retire(1);
    await custody.retire(1);
    const text = await readFile(join(directory, 'generation-0001.json'), 'utf8');
    expect(text).not.toContain('sealedKey');
    const again = await reopened();
    expect(again.custody.generations.map(({ retiredAt }) => retiredAt)).toEqual([
      environment.now(),
      undefined,
    ]);
    expect(await again.custody.open(again.custodyKey)).toHaveLength(1);
  });

  describe('of a replica', () => {
    const at = (name: string): string => join(directory, '..', name);
    const refused = (why: RegExp) => ({
      code: 'OPTION_INVALID',
      message: expect.stringMatching(why) as string,
    });
    const second = setUpForTests(512, 'residue', engine, new SeededRandom('second'));

    it('open with what opens the first one, and follow it', async () => {
      await store();
      const { custody, custodyKey } = await reopened();
      await custody.copyTo(at('replica'));
      expect((await readdir(at('replica'))).sort()).toEqual((await readdir(directory)).sort());
      const copied = await loadMasterKey(at('replica'), secret, engine);
      expect(copied.factors.reveal()).toEqual(key.factors.reveal());

      await custody.add(await second, custodyKey);
      await custody.retire(1);
      await custody.copyTo(at('replica'));
      const replica = await Custody.read(at('replica'), environment);
      const retired = replica.generations.map(({ retiredAt }) => retiredAt !== undefined);
      expect(retired).toEqual([true, false]);
      const opened = await replica.open(custodyKey);
      expect(opened.map((one) => one.key.factors.reveal())).toEqual([
        (await second).factors.reveal(),
      ]);
    });

    it('are left as they are where they are not what the first one had before', async () => {
      await store();
      const { custody, custodyKey } = await reopened();
      await custody.copyTo(at('replica'));
      const replica = await Custody.read(at('replica'), environment);
      await replica.add(await second, custodyKey);
      await expect(custody.copyTo(at('replica'))).rejects.toMatchObject(
        refused(/has a generation 2 of its own: rotate one replica only/),
      );
      await custody.add(key, custodyKey);
      await expect(custody.copyTo(at('replica'))).rejects.toMatchObject(
        refused(/has a generation 2 of its own/),
      );

      await custody.copyTo(at('other'));
      const other = await Custody.read(at('other'), environment);
      await other.retire(1);
      await expect(custody.copyTo(at('other'))).rejects.toMatchObject(
        refused(/has retired generation 1: retire it here as well/),
      );

      await storeMasterKey(at('stranger'), key, secret, systemRandom);
      await expect(custody.copyTo(at('stranger'))).rejects.toMatchObject(
        refused(/holds the keys of another custody/),
      );
      const untouched = await Custody.read(at('other'), environment);
      expect(untouched.generations[0]?.sealedKey).toBeUndefined();
    });
  });
});

describe('locks', () => {
  it('open each on its own, and shares from their number on', async () => {
    const shares: HandedShare[] = [];
    const environment = { engine, random: systemRandom, now: () => new Date() };
    const sharing = { threshold: 2, count: 3 };
    const request = { secrets: [secret, passphrase], sharing };
    await Custody.create(directory, key, request, environment, (handed) => {
      shares.push(...handed);
      return Promise.resolve();
    });
    const custody = await Custody.read(directory, environment);
    expect(custody.locks.map(({ kind }) => kind)).toEqual(['key', 'passphrase', 'shares']);
    const custodyKey = (await custody.unlock(secret))?.reveal();
    expect(custodyKey).toHaveLength(32);
    expect((await custody.unlock(passphrase))?.reveal()).toEqual(custodyKey);

    const [first, second, third] = shares;
    if (first === undefined || second === undefined || third === undefined) throw new Error('3');
    const lock = custody.lockOf(first);
    if (lock === undefined) throw new Error('it is one of its shares');
    for (const some of [[first, third], [third, second], shares]) {
      expect((await custody.unlockWithShares(lock, some))?.reveal()).toEqual(custodyKey);
    }
    const changed = Uint8Array.from(second.value.reveal());
    changed[0] = (changed[0] ?? 0) ^ 1;
    const wrong = { ...second, value: new Secret(changed) };
    expect(custody.lockOf(wrong)).toBeUndefined();
    expect(custody.lockOf({ ...second, index: 3 })).toBeUndefined();
    expect(custody.lockOf({ ...second, set: '0'.repeat(16) })).toBeUndefined();
    expect(await custody.unlockWithShares(lock, [first, wrong])).toBeUndefined();
  });

  it('are not made where the shares cannot be handed out', async () => {
    const environment = { random: systemRandom, now: () => new Date() };
    const request = { secrets: [], sharing: { threshold: 2, count: 2 } };
    await expect(
      Custody.create(directory, key, request, environment, () =>
        Promise.reject(new Error('the disk is full')),
      ),
    ).rejects.toThrow('the disk is full');
    await requireUnused(directory);
  });
});
