/** Custody: decode, check, let the custodians act, encode. */
import { duoveilError } from '@duoveil/common/errors';
import { formatIdentity, implement, unary, type Role, type Service } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import {
  CustodyServiceService,
  LockKind,
  type Custody as WireCustody,
  type CustodyLock,
  type UnsealRequest,
} from '@duoveil/proto';

import type { Custodians, CustodyStatus, Offer, Unsealed } from '../keys/custodians.js';
import type { Lock } from '../keys/locks.js';

/** A passphrase is stretched, and a master key checked: seconds. Drawing one takes minutes at worst. */
const TIMEOUT_MS = { act: 120_000, rotate: 1_800_000 } as const;

const CUSTODIANS: readonly Role[] = ['custodian'];
/** A service provider shows its operators how its CSP is. */
const READERS: readonly Role[] = ['sp', 'operator', 'auditor', 'custodian'];

/** The service, which answers while the CSP is sealed too. */
export function custodyService(custodians: Custodians<Unsealed>): Service {
  const act = { roles: CUSTODIANS, timeoutMs: TIMEOUT_MS.act };
  return implement(CustodyServiceService, {
    getCustody: unary({ roles: READERS }, () =>
      Promise.resolve({ custody: encode(custodians.status()) }),
    ),
    unseal: unary(act, async (request, { identity }) => ({
      custody: encode(await custodians.unseal(decodeOffer(request), formatIdentity(identity))),
    })),
    seal: unary(act, async (_request, { identity }) => ({
      custody: encode(await custodians.seal(formatIdentity(identity))),
    })),
    rotate: unary(
      { roles: CUSTODIANS, timeoutMs: TIMEOUT_MS.rotate },
      async (_request, { identity }) => ({
        custody: encode(await custodians.rotate(formatIdentity(identity))),
      }),
    ),
    retire: unary(act, async ({ generation }, { identity }) => ({
      custody: encode(await custodians.retire(generation, formatIdentity(identity))),
    })),
  });
}

const MAX_PASSPHRASE = 1024;

/** @throws DuoveilError `MESSAGE_INVALID` */
function decodeOffer({ offer }: UnsealRequest): Offer {
  switch (offer?.$case) {
    case 'passphrase':
      requireThat(offer.value.length <= MAX_PASSPHRASE, 'passphrase', 'must be shorter');
      return { kind: 'passphrase', passphrase: new Secret(offer.value) };
    case 'key':
      requireThat(offer.value.length === 32, 'key', 'must have 32 bytes');
      return { kind: 'key', key: new Secret(offer.value) };
    case 'share': {
      const { set, index, value } = offer.value;
      requireThat(set.length === 8, 'share.set', 'must have 8 bytes');
      requireThat(value.length === 33, 'share.value', 'must have 33 bytes');
      const share = { set: set.toString('hex'), index, value: new Secret(value) };
      return { kind: 'share', share };
    }
    case undefined:
      throw invalid('offer', 'must be there');
  }
}

function encode(status: CustodyStatus): WireCustody {
  const { isOpen, locks, generations, audit } = status;
  return {
    unsealed: isOpen,
    locks: locks.map((lock) => encodeLock(lock, status)),
    generations: generations.map(({ number, parameters, createdAt, retiredAt }) => ({
      number,
      parametersDigest: Buffer.from(parameters.digest, 'hex'),
      bits: parameters.bits,
      createdAt: seconds(createdAt),
      retiredAt: retiredAt === undefined ? 0n : seconds(retiredAt),
    })),
    auditSequence: BigInt(audit.sequence),
    auditHash: Buffer.from(audit.hash, 'hex'),
  };
}

function encodeLock(lock: Lock, { given }: CustodyStatus): CustodyLock {
  if (lock.kind !== 'shares') {
    const kind = lock.kind === 'key' ? LockKind.KEY : LockKind.PASSPHRASE;
    return { kind, set: Buffer.alloc(0), threshold: 0, count: 0, given: [] };
  }
  return {
    kind: LockKind.SHARES,
    set: Buffer.from(lock.set, 'hex'),
    threshold: lock.threshold,
    count: lock.digests.length,
    given: given.filter(({ set }) => set === lock.set).map(({ index }) => index),
  };
}

function seconds(date: Date): bigint {
  return BigInt(Math.floor(date.getTime() / 1000));
}

function requireThat(condition: boolean, field: string, requirement: string): void {
  if (!condition) throw invalid(field, requirement);
}

function invalid(field: string, requirement: string): Error {
  return duoveilError('MESSAGE_INVALID', `${field} ${requirement}`, { field });
}
