/**
 * Which certificates an authority has taken back: a certificate revocation list (RFC 5280), signed by
 * the authority, in a file beside its certificate.
 */
import 'reflect-metadata';
import type { X509Certificate } from 'node:crypto';
import type * as X509 from '@peculiar/x509';
import { duoveilError } from '../errors.js';

/** The certificates that are not to be believed any more, by their serial numbers. */
export interface RevocationList {
  /** @param serialNumber hexadecimal, as Node.js and OpenSSL write it; case and leading zeros do not count */
  has(serialNumber: string): boolean;
  /** How many there are. */
  readonly size: number;
  /** When the authority will have issued a newer list at the latest, if it says so. */
  readonly nextUpdate: Date | undefined;
}

/** Nothing was revoked. */
export const nothingRevoked: RevocationList = {
  has: () => false,
  size: 0,
  nextUpdate: undefined,
};

/**
 * Reads one or several lists in PEM form.
 * @param issuers certificates of which one must have signed each list
 * @param file its name, for errors
 * @throws CONFIG_INVALID where it is not a list, or not one of these authorities'
 */
export async function readRevocationList(
  pem: Buffer,
  issuers: readonly X509Certificate[],
  file: string,
): Promise<RevocationList> {
  const x509 = await import('@peculiar/x509');
  const blocks = pem.toString('utf8').match(pemBlock) ?? [];
  if (blocks.length === 0) throw invalid(file, 'is not a revocation list in PEM form');
  const serials = new Set<string>();
  let nextUpdate: Date | undefined;
  for (const block of blocks) {
    const list = parse(x509, block, file);
    if (!(await isSignedByOneOf(x509, list, issuers))) {
      throw invalid(file, 'is not signed by the authority of tls.ca');
    }
    for (const { serialNumber } of list.entries) serials.add(normalised(serialNumber));
    const next = list.nextUpdate;
    if (next !== undefined && (nextUpdate === undefined || next < nextUpdate)) nextUpdate = next;
  }
  return { has: (serial) => serials.has(normalised(serial)), size: serials.size, nextUpdate };
}

const pemBlock = /-----BEGIN X509 CRL-----[\s\S]*?-----END X509 CRL-----/g;

function parse(x509: typeof X509, block: string, file: string): X509.X509Crl {
  try {
    return new x509.X509Crl(block);
  } catch {
    throw invalid(file, 'is not a revocation list in PEM form');
  }
}

async function isSignedByOneOf(
  x509: typeof X509,
  list: X509.X509Crl,
  issuers: readonly X509Certificate[],
): Promise<boolean> {
  for (const issuer of issuers) {
    const publicKey = new x509.X509Certificate(issuer.raw);
    if (publicKey.subject !== list.issuer) continue;
    if (await list.verify({ publicKey }).catch(() => false)) return true;
  }
  return false;
}

function normalised(serialNumber: string): string {
  return serialNumber.toLowerCase().replace(/^0+(?=.)/, '');
}

function invalid(file: string, what: string): Error {
  return duoveilError('CONFIG_INVALID', `tls.crl: ${file} ${what}`, { path: 'tls.crl' });
}
