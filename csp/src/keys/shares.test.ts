import { systemRandom } from '@duoveil/common/random';
import { Secret } from '@duoveil/common/secret';
import { describe, expect, it } from 'vitest';

import { armourShare, joinShares, readShare, splitSecret } from './shares.js';

const secret = new Secret(systemRandom.bytes(32));
const shares = await splitSecret(secret, { threshold: 3, count: 5 }, '0123456789abcdef');
const [share] = shares;
if (share === undefined) throw new Error('there are 5');
const armoured = armourShare(share);

describe('shares', () => {
  it('give the secret back, any three of them, and two do not', async () => {
    for (let without = 0; without < 5; without += 1) {
      for (let other = 0; other < without; other += 1) {
        const three = shares.filter((_, i) => i !== without && i !== other);
        expect((await joinShares(three)).reveal()).toEqual(Uint8Array.from(secret.reveal()));
        expect((await joinShares(three.slice(1))).reveal()).not.toEqual(secret.reveal());
      }
    }
  });

  it('come back from their text, whatever became of its line breaks', () => {
    for (const text of [armoured, armoured.replaceAll('\n', '\r\n'), `\n  ${armoured}\n`]) {
      const read = readShare(new Secret(text));
      expect(read).toMatchObject({ set: share.set, index: 1, count: 5, threshold: 3 });
      expect([...read.value.reveal()]).toEqual([...share.value.reveal()]);
    }
  });

  it('are refused where a character of their text was mistyped, without quoting it', () => {
    const refused = (text: string): string => {
      try {
        readShare(new Secret(text));
      } catch (error) {
        return error instanceof Error ? error.message : 'something else';
      }
      throw new Error(`it was taken: ${text}`);
    };
    const value = Buffer.from(share.value.reveal()).toString('base64');
    const other = value.startsWith('A') ? 'B' : 'A';
    for (const text of [
      '',
      'a passphrase',
      armoured.replace(value, other + value.slice(1)),
      armoured.replace('Share: 1 of', 'Share: 2 of'),
      armoured.replace('Needed: 3', 'Needed: 2'),
      armoured.replace('of 5', 'of 6'),
      armoured.replace(share.set, share.set.replace('0', '1')),
      `${armoured}${armoured}`,
    ]) {
      expect(refused(text)).toMatch(/^share: the file (does not hold a share|was changed)/);
      expect(refused(text)).not.toContain(value.slice(4, 20));
    }
  });
});
