/**
 * Custodians' shares: A. Shamir, *How to share a secret*, CACM 22(11), 1979, by a library that was
 * audited; and the text in which a share is handed to its custodian.
 */
import { createHash } from 'node:crypto';

import { duoveilError } from '@duoveil/common/errors';
import { Secret } from '@duoveil/common/secret';
import { combine, split } from 'shamir-secret-sharing';

/** How many shares there are, and how many of them open. */
export interface Sharing {
  /** From 2. */
  readonly threshold: number;
  /** From `threshold` to 255. */
  readonly count: number;
}

/** One custodian's share. */
export interface Share {
  /** The name of the set that it is of: 16 hexadecimal digits, drawn with the set. */
  readonly set: string;
  /** Its number in the set, from 1. */
  readonly index: number;
  readonly value: Secret<Uint8Array>;
}

/** A share as its custodian gets it. */
export interface HandedShare extends Share, Sharing {}

/** The greatest number of shares: points of a field of 256 elements, without 0. */
export const MAX_SHARES = 255;

/** Split a secret. */
export async function splitSecret(
  secret: Secret<Uint8Array>,
  { threshold, count }: Sharing,
  set: string,
): Promise<HandedShare[]> {
  const values = await split(plainBytes(secret), count, threshold);
  return values.map((value, i) => ({
    ...{ set, threshold, count, index: i + 1 },
    value: new Secret(value),
  }));
}

/** Join as many shares of one set as are needed: another set's, or fewer, give another secret. */
export async function joinShares(shares: readonly Share[]): Promise<Secret<Uint8Array>> {
  return new Secret(await combine(shares.map(({ value }) => plainBytes(value))));
}

/** The library takes no subclass of `Uint8Array`. */
function plainBytes(secret: Secret<Uint8Array>): Uint8Array {
  const bytes = secret.reveal();
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/**
 * By what a share is recognised before the others are there. A share is 256 uniform bits and more: its
 * hash says nothing about it.
 */
export function shareDigest({ set, index, value }: Share): string {
  return createHash('sha256')
    .update(`duoveil/custody-share/v1/${set}/${String(index)}/`)
    .update(value.reveal())
    .digest('hex');
}

const BEGIN = '-----BEGIN DUOVEIL CUSTODY SHARE-----';
const END = '-----END DUOVEIL CUSTODY SHARE-----';

/** A share as text, for its custodian to keep. */
export function armourShare(share: HandedShare): string {
  const { set, index, count, threshold, value } = share;
  const lines = [
    BEGIN,
    `Set: ${set}`,
    `Share: ${String(index)} of ${String(count)}`,
    `Needed: ${String(threshold)}`,
    `Value: ${Buffer.from(value.reveal()).toString('base64')}`,
    `Checksum: ${checksum(share)}`,
    END,
  ];
  return `${lines.join('\n')}\n`;
}

const FORM = new RegExp(
  [
    `^${BEGIN}`,
    'Set: ([0-9a-f]{16})',
    'Share: (\\d{1,3}) of (\\d{1,3})',
    'Needed: (\\d{1,3})',
    'Value: ([A-Za-z0-9+/]{4,200}={0,2})',
    'Checksum: ([0-9a-f]{16})',
    `${END}$`,
  ].join('\\s+'),
);

/**
 * Read what {@link armourShare} wrote; line breaks and spaces around it do not matter.
 * @throws DuoveilError `CONFIG_INVALID` where it is no share or was mistyped; it does not quote it
 */
export function readShare(text: Secret<string>): HandedShare {
  const [, set = '', index, count, threshold, value = '', sum] =
    FORM.exec(text.reveal().trim()) ?? [];
  if (sum === undefined) throw invalid(`does not hold a share: it begins with "${BEGIN}"`);
  const share = {
    set,
    ...{ index: Number(index), count: Number(count), threshold: Number(threshold) },
    value: new Secret(new Uint8Array(Buffer.from(value, 'base64'))),
  };
  if (checksum(share) !== sum) throw invalid('was changed: its checksum is another one');
  return share;
}

/** Against slips of the pen. What was changed on purpose does not open. */
function checksum(share: HandedShare): string {
  const { count, threshold } = share;
  return createHash('sha256')
    .update(`${shareDigest(share)}/${String(count)}/${String(threshold)}`)
    .digest('hex')
    .slice(0, 16);
}

function invalid(what: string): Error {
  return duoveilError('CONFIG_INVALID', `share: the file ${what}`, { path: 'share' });
}
