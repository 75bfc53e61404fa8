import { UnsealRequest } from '@duoveil/proto';
import { describe, expect, it } from 'vitest';

import { callBytes } from '../../../harness/src/local/loopback.js';
import type { Custodians, CustodyStatus, Offer, Unsealed } from '../keys/custodians.js';
import { custodyService } from './custody.js';

const offers: Offer[] = [];
const status: CustodyStatus = {
  ...{ isOpen: false, locks: [], given: [], generations: [] },
  audit: { sequence: 0, hash: '0'.repeat(64) },
};
const service = custodyService({
  status: () => status,
  unseal: (offer: Offer) => {
    offers.push(offer);
    return Promise.resolve(status);
  },
} as unknown as Custodians<Unsealed>);

const unseal = (offer: UnsealRequest['offer']) =>
  callBytes(service, 'unseal', Buffer.from(UnsealRequest.encode({ offer }).finish()));
const bytes = (length: number): Buffer => Buffer.alloc(length, 1);
const share = { set: bytes(8), index: 1, value: bytes(33) };

describe('an offer', () => {
  it.each<[string, UnsealRequest['offer'], string]>([
    ['nothing', undefined, 'offer'],
    ['a short key', { $case: 'key', value: bytes(31) }, 'key'],
    ['a long key', { $case: 'key', value: bytes(33) }, 'key'],
    ['an endless passphrase', { $case: 'passphrase', value: 'x'.repeat(1025) }, 'passphrase'],
    ['a set that is none', { $case: 'share', value: { ...share, set: bytes(7) } }, 'share.set'],
    ['a short share', { $case: 'share', value: { ...share, value: bytes(32) } }, 'share.value'],
    ['a long share', { $case: 'share', value: { ...share, value: bytes(34) } }, 'share.value'],
  ])('of %s is refused before it is tried', async (_, offer, field) => {
    await expect(unseal(offer)).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
      details: { field },
    });
    expect(offers).toEqual([]);
  });

  it('reaches the custodians as a secret', async () => {
    await unseal({ $case: 'passphrase', value: 'correct horse' });
    await unseal({ $case: 'key', value: bytes(32) });
    await unseal({ $case: 'share', value: share });
    expect(offers.map(({ kind }) => kind)).toEqual(['passphrase', 'key', 'share']);
    expect(JSON.stringify(offers)).not.toMatch(/horse|"1":1|\[1,1/);
  });
});
