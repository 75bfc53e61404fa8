/**
 * An authority's directory: `ca.crt` and `ca.key`, a copy of every certificate that was issued in
 * `issued/`, by serial number, and `ca.crl` once something was revoked.
 */
import { X509Certificate } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { duoveilError } from '../errors.js';
import {
  issueCertificate,
  readAuthority,
  readRevocations,
  signRevocationList,
  writeCredentials,
} from './certificates.js';
import type { Authority, CredentialFiles, Revocation } from './certificates.js';
import { storageError, systemErrorCode, writeFileAtomic } from './files.js';
import { formatIdentity, identityOfCertificate } from './identity.js';
import type { Identity } from './identity.js';

/** One certificate of an authority's. */
export interface IssuedCertificate {
  /** Hexadecimal. */
  readonly serialNumber: string;
  /** Whose it is, as a SPIFFE URI. */
  readonly identity: string;
  readonly validTo: Date;
  readonly revokedAt: Date | undefined;
}

/**
 * Issues a certificate and a key into a party's directory, with the revocation list if there is one.
 * @returns the serial number, hexadecimal
 * @throws CONFIG_INVALID, STORAGE_FULL, STORAGE_FAILED
 */
export async function issueFrom(
  directory: string,
  out: string,
  options: {
    readonly identity: Identity;
    readonly hosts: readonly string[];
    readonly days: number;
    readonly now: Date;
  },
): Promise<string> {
  const authority = await readAuthority(directory);
  const credentials = await issueCertificate(authority, options);
  const serialNumber = new X509Certificate(credentials.certificate).serialNumber.toLowerCase();
  const issued = join(directory, 'issued');
  await mkdir(issued, { recursive: true });
  // What was handed out and not noted down could not be revoked by name.
  await writeFileAtomic(join(issued, `${serialNumber}.crt`), credentials.certificate, 0o644);
  const files = await writeCredentials(out, credentials);
  await copyList(directory, files);
  return serialNumber;
}

/** All certificates that were issued from the directory, the oldest one to expire first. */
export async function issuedCertificates(directory: string): Promise<IssuedCertificate[]> {
  const revoked = new Map(
    (await revocations(directory, await readAuthority(directory))).map((entry) => [
      normalised(entry.serialNumber),
      entry.revokedAt,
    ]),
  );
  const names = await readdir(join(directory, 'issued')).catch(() => []);
  const certificates = await Promise.all(
    names
      .filter((name) => name.endsWith('.crt'))
      .map((name) => readFile(join(directory, 'issued', name))),
  );
  return certificates
    .map((pem) => new X509Certificate(pem))
    .map((certificate) => {
      const serialNumber = certificate.serialNumber.toLowerCase();
      const identity = identityOfCertificate(certificate);
      return {
        serialNumber,
        identity: identity === undefined ? '' : formatIdentity(identity),
        validTo: new Date(certificate.validTo),
        revokedAt: revoked.get(normalised(serialNumber)),
      };
    })
    .sort((one, other) => one.validTo.getTime() - other.validTo.getTime());
}

/**
 * Writes `ca.crl` anew, with one more certificate if one is given.
 * @param options.days until when the next list is promised
 * @returns how many certificates are revoked now
 * @throws CONFIG_INVALID, STORAGE_FULL, STORAGE_FAILED
 */
export async function revokeFrom(
  directory: string,
  serialNumber: string | undefined,
  options: { readonly days: number; readonly now: Date },
): Promise<number> {
  const authority = await readAuthority(directory);
  const revoked = await revocations(directory, authority);
  const isKnown = revoked.some(
    (entry) => normalised(entry.serialNumber) === normalised(serialNumber ?? ''),
  );
  if (serialNumber !== undefined && !isKnown) {
    revoked.push({ serialNumber: normalised(serialNumber), revokedAt: options.now });
  }
  const list = await signRevocationList(authority, { ...options, revoked });
  await writeFileAtomic(listFile(directory), list, 0o644);
  return revoked.length;
}

/**
 * The serial number of a certificate in a file.
 * @throws CONFIG_INVALID
 */
export async function serialNumberOf(file: string): Promise<string> {
  try {
    return new X509Certificate(await readFile(file)).serialNumber.toLowerCase();
  } catch (cause) {
    throw duoveilError(
      'CONFIG_INVALID',
      `${file} is not a certificate in PEM form`,
      { path: 'certificate' },
      { cause },
    );
  }
}

async function revocations(directory: string, authority: Authority): Promise<Revocation[]> {
  try {
    return await readRevocations(authority, await readFile(listFile(directory), 'utf8'));
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

async function copyList(directory: string, files: CredentialFiles): Promise<void> {
  try {
    await copyFile(listFile(directory), files.crl);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return;
    throw storageError(error, `cannot write ${files.crl}`);
  }
}

function listFile(directory: string): string {
  return join(directory, 'ca.crl');
}

/** In hexadecimal without leading zeros: different tools write them differently. */
function normalised(serialNumber: string): string {
  return serialNumber.toLowerCase().replace(/^0+(?=.)/, '');
}
