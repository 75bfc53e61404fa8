/**
 * A certificate authority for development, demonstrations and tests: ECDSA P-256, one authority, no
 * intermediates. A production deployment brings its own authority; what duoveil asks
 * of its certificates is what {@link issueCertificate} puts into them.
 *
 * Keys come from WebCrypto, whose generator is the operating system's and cannot be injected.
 */
import 'reflect-metadata';
import { createPrivateKey, webcrypto, X509Certificate } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type * as X509 from '@peculiar/x509';
import { duoveilError } from '../errors.js';
import { systemRandom } from '../random.js';
import { Secret } from '../secret.js';
import { readSettingFile, writeFileAtomic } from './files.js';
import { formatIdentity } from './identity.js';
import type { Identity } from './identity.js';

/** A certificate authority: its certificate, and the key that signs. */
export interface Authority {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS #8, not encrypted. */
  readonly key: Secret<string>;
}

/** What a party needs to show who it is, and to check who others are. */
export interface Credentials {
  /** The authority's certificate, PEM. */
  readonly ca: string;
  /** The party's certificate, PEM. */
  readonly certificate: string;
  /** The party's key, PEM, PKCS #8, not encrypted. */
  readonly key: Secret<string>;
}

/** Where {@link writeCredentials} puts a party's files: the same shape as the TLS settings. */
export interface CredentialFiles {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** The authority's revocation list; there may be none. */
  readonly crl: string;
}

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' };
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };
const dayMs = 86_400_000;
/** Certificates are valid from a little earlier, for peers whose clocks are behind. */
const clockSkewMs = 300_000;

/**
 * Makes a new authority.
 * @param options.days validity from `now`, in days
 */
export async function createAuthority(options: {
  readonly commonName: string;
  readonly days: number;
  readonly now: Date;
}): Promise<Authority> {
  const x509 = await loadLibrary();
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: distinguishedName(options.commonName),
    ...validity(options.now, options.days),
    keys,
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

/**
 * Issues a certificate with a new key to a party. Servers (`csp`, `sp`) get one for both ends of a
 * connection; every other role can be a client only.
 * @param options.hosts the DNS names and IP addresses under which clients reach it; none for clients
 * @param options.days validity from `now`, in days
 */
export async function issueCertificate(
  authority: Authority,
  options: {
    readonly identity: Identity;
    readonly hosts: readonly string[];
    readonly days: number;
    readonly now: Date;
  },
): Promise<Credentials> {
  const x509 = await loadLibrary();
  const keys = await generateKeys();
  const issuer = new x509.X509Certificate(authority.certificate);
  const serves = options.identity.role === 'csp' || options.identity.role === 'sp';
  const usages = [x509.ExtendedKeyUsage.clientAuth];
  if (serves) usages.push(x509.ExtendedKeyUsage.serverAuth);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: distinguishedName(options.identity.role),
    issuer: issuer.subjectName,
    ...validity(options.now, options.days),
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.key),
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(usages),
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: formatIdentity(options.identity) },
        ...options.hosts.map((host) => ({
          type: isIP(host) === 0 ? ('dns' as const) : ('ip' as const),
          value: host,
        })),
      ]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return {
    ca: authority.certificate,
    certificate: certificate.toString('pem'),
    key: await exportKey(keys.privateKey),
  };
}

/** A certificate that was taken back. */
export interface Revocation {
  /** Hexadecimal. */
  readonly serialNumber: string;
  readonly revokedAt: Date;
}

/**
 * Signs a revocation list. A list replaces the one before: it names everything that was ever revoked.
 * @param options.days until when the next list is promised, from `now`
 * @returns PEM
 */
export async function signRevocationList(
  authority: Authority,
  options: {
    readonly revoked: readonly Revocation[];
    readonly days: number;
    readonly now: Date;
  },
): Promise<string> {
  const x509 = await loadLibrary();
  const issuer = new x509.X509Certificate(authority.certificate);
  const list = await x509.X509CrlGenerator.create({
    issuer: issuer.subjectName,
    thisUpdate: options.now,
    nextUpdate: new Date(options.now.getTime() + options.days * dayMs),
    entries: options.revoked.map(({ serialNumber, revokedAt }) => ({
      serialNumber,
      revocationDate: revokedAt,
      // Any reason will do: without one, the library writes an empty list, which others cannot read.
      reason: x509.X509CrlReason.privilegeWithdrawn,
    })),
    signingAlgorithm,
    signingKey: await importKey(authority.key),
    extensions: [
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      new x509.Extension(crlNumberOid, false, derInteger(options.now.getTime())),
    ],
  });
  return pemOfList(Buffer.from(list.rawData));
}

/** Every list of an authority's has a higher number than the one before: the time will do. */
const crlNumberOid = '2.5.29.20';

/** A number that is not negative, as DER writes it. */
function derInteger(value: number): Buffer {
  const digits = value.toString(16);
  const content = Buffer.from(digits.padStart(2 * Math.ceil((digits.length + 1) / 2), '0'), 'hex');
  // A leading zero byte is needed where the first bit would pass for a sign, and wrong elsewhere.
  const needless = content.length > 1 && content[0] === 0 && (content[1] ?? 0) < 0x80;
  const minimal = needless ? content.subarray(1) : content;
  return Buffer.concat([Buffer.from([0x02, minimal.length]), minimal]);
}

// The library's own form says `BEGIN CRL`, which other programmes do not read.
function pemOfList(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN X509 CRL-----\n${lines.join('\n')}\n-----END X509 CRL-----\n`;
}

/**
 * What an authority's list revokes.
 * @throws CONFIG_INVALID where it is not a list, or not this authority's
 */
export async function readRevocations(authority: Authority, pem: string): Promise<Revocation[]> {
  const x509 = await loadLibrary();
  try {
    const list = new x509.X509Crl(pem);
    const publicKey = new x509.X509Certificate(authority.certificate);
    if (!(await list.verify({ publicKey }))) throw new Error('not signed by the authority');
    return list.entries.map(({ serialNumber, revocationDate }) => ({
      serialNumber,
      revokedAt: revocationDate,
    }));
  } catch (cause) {
    throw duoveilError(
      'CONFIG_INVALID',
      "ca.crl is not a revocation list of this authority's",
      { path: 'ca' },
      { cause },
    );
  }
}

/** Writes `ca.crt` and `ca.key` (readable to the owner only) into a directory, made if need be. */
export async function writeAuthority(directory: string, authority: Authority): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFileAtomic(join(directory, 'ca.key'), authority.key.reveal(), 0o600);
  await writeFileAtomic(join(directory, 'ca.crt'), authority.certificate, 0o644);
}

/**
 * Reads what {@link writeAuthority} wrote.
 * @throws CONFIG_INVALID where a file is missing or the two do not belong together
 */
export async function readAuthority(directory: string): Promise<Authority> {
  const certificate = (await readSettingFile(join(directory, 'ca.crt'), 'ca')).toString('utf8');
  const key = new Secret((await readSettingFile(join(directory, 'ca.key'), 'ca')).toString('utf8'));
  let match: boolean;
  try {
    match = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key.reveal()));
  } catch {
    match = false;
  }
  if (!match) {
    throw duoveilError(
      'CONFIG_INVALID',
      `${directory}: ca.crt and ca.key must be PEM files of one authority`,
      { path: 'ca' },
    );
  }
  return { certificate, key };
}

/** Writes `ca.crt`, `tls.crt` and `tls.key` (readable to the owner only) into a directory, made if need be. */
export async function writeCredentials(
  directory: string,
  credentials: Credentials,
): Promise<CredentialFiles> {
  const files = credentialFiles(directory);
  await mkdir(directory, { recursive: true });
  await writeFileAtomic(files.key, credentials.key.reveal(), 0o600);
  await writeFileAtomic(files.certificate, credentials.certificate, 0o644);
  await writeFileAtomic(files.ca, credentials.ca, 0o644);
  return files;
}

/** The names of a party's files in a directory. */
export function credentialFiles(directory: string): CredentialFiles {
  return {
    ca: join(directory, 'ca.crt'),
    certificate: join(directory, 'tls.crt'),
    key: join(directory, 'tls.key'),
    crl: join(directory, 'ca.crl'),
  };
}

// Loaded on first use: a server that only reads certificates starts without it.
async function loadLibrary(): Promise<typeof X509> {
  return await import('@peculiar/x509');
}

// An array of attributes, not a string: nothing in the name needs escaping.
function distinguishedName(commonName: string): { CN: string[] }[] {
  return [{ CN: [commonName] }];
}

function validity(now: Date, days: number): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: new Date(now.getTime() - clockSkewMs),
    notAfter: new Date(now.getTime() + days * dayMs),
  };
}

/** 127 random bits with the highest one set: positive, and of a fixed length. */
function serialNumber(): string {
  const bytes = Buffer.from(systemRandom.bytes(16));
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0);
  return bytes.toString('hex');
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<Secret<string>> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  const pem = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return new Secret(pem.export({ format: 'pem', type: 'pkcs8' }).toString());
}

async function importKey(pem: Secret<string>): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(pem.reveal()).export({ format: 'der', type: 'pkcs8' });
  return await webcrypto.subtle.importKey('pkcs8', der, keyAlgorithm, false, ['sign']);
}
