/**
 * Locks: each holds the custody key, sealed for whoever has what opens it. Any one of them opens; the
 * key itself is drawn once and never leaves the process in the clear.
 */
import { timingSafeEqual } from 'node:crypto';

import { isDuoveilError } from '@duoveil/common/errors';
import type { RandomSource } from '@duoveil/common/random';
import { seal, unseal, type SealedEnvelope, type SealingSecret } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { z } from 'zod';

import {
  joinShares,
  MAX_SHARES,
  shareDigest,
  splitSecret,
  type HandedShare,
  type Share,
  type Sharing,
} from './shares.js';

/** Which locks to make: at least one. */
export interface LockRequest {
  /** One for each. */
  readonly secrets: readonly SealingSecret[];
  readonly sharing?: Sharing | undefined;
}

const CUSTODY_KEY_BYTES = 32;

const digits = (count: number) => z.string().regex(new RegExp(`^[0-9a-f]{${String(count)}}$`));

const sealed = z.unknown();

const sharesLock = z
  .strictObject({
    kind: z.literal('shares'),
    set: digits(16),
    threshold: z.int().min(2).max(MAX_SHARES),
    /** By which each share is recognised, in the order of their numbers. */
    digests: z.array(digits(64)).max(MAX_SHARES),
    sealed,
  })
  .refine(({ threshold, digests }) => digests.length >= threshold, 'has too few digests');

/** Locks as they are written down. */
export const locksSchema = z
  .array(
    z.union([
      z.strictObject({ kind: z.literal('passphrase'), sealed }),
      z.strictObject({ kind: z.literal('key'), sealed }),
      sharesLock,
    ]),
  )
  .min(1)
  .max(8);

export type Lock = z.output<typeof locksSchema>[number];
export type SharesLock = z.output<typeof sharesLock>;

/** A custody key: 32 uniform bytes. Forgotten when it is not needed any more. */
export type CustodyKey = Secret<Uint8Array>;

/** Draw a custody key and make its locks. */
export async function makeLocks(
  custodyId: string,
  { secrets, sharing }: LockRequest,
  random: RandomSource,
): Promise<{
  readonly key: CustodyKey;
  readonly locks: Lock[];
  readonly shares: readonly HandedShare[];
}> {
  const key = new Secret(random.bytes(CUSTODY_KEY_BYTES));
  const locks: Lock[] = [];
  for (const secret of secrets) {
    locks.push({ kind: secret.kind, sealed: await lock(key, secret, custodyId, random) });
  }
  if (sharing === undefined) return { key, locks, shares: [] };

  const shared = new Secret(random.bytes(CUSTODY_KEY_BYTES));
  try {
    const set = Buffer.from(random.bytes(8)).toString('hex');
    const shares = await splitSecret(shared, sharing, set);
    const envelope = await lock(key, { kind: 'key', key: shared }, `${custodyId}/${set}`, random);
    locks.push({
      kind: 'shares',
      ...{ set, threshold: sharing.threshold, digests: shares.map(shareDigest) },
      sealed: envelope,
    });
    return { key, locks, shares };
  } finally {
    shared.forget();
  }
}

/** The custody key, if one of the locks is for this secret and opens; else undefined. */
export async function openWithSecret(
  custodyId: string,
  locks: readonly Lock[],
  secret: SealingSecret,
): Promise<CustodyKey | undefined> {
  for (const { kind, sealed: envelope } of locks) {
    if (kind !== secret.kind) continue;
    const key = await unlock(envelope, secret, custodyId);
    if (key !== undefined) return key;
  }
  return undefined;
}

/** The lock that a share belongs to; undefined where it is none of any lock's shares. */
export function lockOfShare(locks: readonly Lock[], share: Share): SharesLock | undefined {
  return locks.find((found): found is SharesLock => {
    if (found.kind !== 'shares' || found.set !== share.set) return false;
    const expected = found.digests[share.index - 1];
    return (
      expected !== undefined &&
      timingSafeEqual(Buffer.from(expected, 'hex'), Buffer.from(shareDigest(share), 'hex'))
    );
  });
}

/** The custody key, from as many shares of a lock as it needs; undefined where they do not open it. */
export async function openWithShares(
  custodyId: string,
  { set, sealed: envelope }: SharesLock,
  shares: readonly Share[],
): Promise<CustodyKey | undefined> {
  const shared = await joinShares(shares);
  try {
    return await unlock(envelope, { kind: 'key', key: shared }, `${custodyId}/${set}`);
  } finally {
    shared.forget();
  }
}

function lock(
  key: CustodyKey,
  secret: SealingSecret,
  name: string,
  random: RandomSource,
): Promise<SealedEnvelope> {
  return seal(key.reveal(), secret, contextOf(name), random);
}

async function unlock(
  envelope: unknown,
  secret: SealingSecret,
  name: string,
): Promise<CustodyKey | undefined> {
  try {
    const opened = await unseal(envelope, secret, contextOf(name));
    const key = Uint8Array.from(opened);
    opened.fill(0);
    return new Secret(key);
  } catch (error) {
    if (isDuoveilError(error, 'UNSEALING_FAILED')) return undefined;
    throw error;
  }
}

function contextOf(name: string): string {
  return `csp-custody/${name}`;
}
