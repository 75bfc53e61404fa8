import { describe, expect, it } from 'vitest';
import { systemRandom } from '../random.js';
import { Secret } from '../secret.js';
import { queuedRandom } from './fixture.js';
import { seal, unseal } from './sealing.js';
import type { SealedEnvelope, SealingSecret } from './sealing.js';

const withKey = (byte: number): SealingSecret => ({
  kind: 'key',
  key: new Secret(Buffer.alloc(32, byte)),
});
const withPassphrase = (text: string): SealingSecret => ({
  kind: 'passphrase',
  passphrase: new Secret(text),
});
const plaintext = Buffer.from('a master key');
const failed = expect.objectContaining({ code: 'UNSEALING_FAILED' }) as unknown;

describe('sealing', () => {
  it('opens under the same passphrase, through JSON, and no other', async () => {
    const sealed = await seal(plaintext, withPassphrase('café'), 'master-key', systemRandom);
    const stored: unknown = JSON.parse(JSON.stringify(sealed));
    expect(sealed.kdf).toMatchObject({ name: 'scrypt', N: 131_072, r: 8, p: 1 });
    // Composed otherwise, as another keyboard may.
    await expect(unseal(stored, withPassphrase('cafe\u0301'), 'master-key')).resolves.toEqual(
      plaintext,
    );
    await expect(unseal(stored, withPassphrase('cafe'), 'master-key')).rejects.toEqual(failed);
  });

  it('opens under the same key, in the same context, and no other', async () => {
    const sealed = await seal(plaintext, withKey(1), 'spool', systemRandom);
    await expect(unseal(sealed, withKey(1), 'spool')).resolves.toEqual(plaintext);
    await expect(unseal(sealed, withKey(2), 'spool')).rejects.toEqual(failed);
    await expect(unseal(sealed, withKey(1), 'other')).rejects.toEqual(failed);
    const renamed = { ...sealed, context: 'other' };
    await expect(unseal(renamed, withKey(1), 'other')).rejects.toEqual(failed);
    await expect(unseal(sealed, withPassphrase('x'), 'spool')).rejects.toEqual(failed);
  });

  it('refuses every flipped bit', async () => {
    const sealed = await seal(plaintext, withKey(1), 'spool', systemRandom);
    for (const field of ['nonce', 'ciphertext', 'tag'] as const) {
      const bytes = Buffer.from(sealed[field], 'base64');
      for (let bit = 0; bit < bytes.length * 8; bit += 1) {
        const flipped = Buffer.from(bytes);
        flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        const damaged = { ...sealed, [field]: flipped.toString('base64') };
        await expect(unseal(damaged, withKey(1), 'spool')).rejects.toEqual(failed);
      }
    }
  });

  it('refuses what is no envelope, and costs beyond its bounds before paying them', async () => {
    const sealed = await seal(plaintext, withPassphrase('p'), 'spool', systemRandom);
    const scrypt = sealed.kdf as Extract<SealedEnvelope['kdf'], { name: 'scrypt' }>;
    const wrong: unknown[] = [
      null,
      'text',
      {},
      { ...sealed, version: 2 },
      { ...sealed, extra: 1 },
      { ...sealed, tag: sealed.tag.slice(0, 8) },
      { ...sealed, kdf: { ...scrypt, N: 2 ** 24 } },
      { ...sealed, kdf: { ...scrypt, N: 2 ** 17 + 1 } },
      { ...sealed, kdf: { ...scrypt, N: 2 } },
      { ...sealed, kdf: { ...scrypt, p: 64 } },
    ];
    for (const envelope of wrong) {
      await expect(unseal(envelope, withPassphrase('p'), 'spool')).rejects.toEqual(failed);
    }
    // Weaker parameters within the bounds are not the ones that were authenticated.
    const weakened = { ...sealed, kdf: { ...scrypt, N: 2 ** 14 } };
    await expect(unseal(weakened, withPassphrase('p'), 'spool')).rejects.toEqual(failed);
  });

  it('draws salt and nonce from the source it is given', async () => {
    const [salt, nonce] = [Buffer.alloc(16, 5), Buffer.alloc(12, 7)];
    const sealed = await seal(plaintext, withKey(1), 'spool', queuedRandom(salt, nonce));
    expect(sealed.kdf).toEqual({ name: 'hkdf-sha256', salt: salt.toString('base64') });
    expect(sealed.nonce).toBe(nonce.toString('base64'));
    await expect(seal(plaintext, withKey(1), 'spool', queuedRandom())).rejects.toThrow();
  });
});
