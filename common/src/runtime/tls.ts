/**
 * Mutual TLS 1.3 and nothing else: both ends show a certificate of the deployment's own authority,
 * the client checks the server's host name and role, the server reads the client's identity.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext } from 'node:tls';
import type { SecureContextOptions } from 'node:tls';
import { ChannelCredentials, ServerCredentials } from '@grpc/grpc-js';
import { duoveilError } from '../errors.js';
import { Secret } from '../secret.js';
import type { Credentials, CredentialFiles } from './certificates.js';
import { systemClock } from './clock.js';
import type { Clock } from './clock.js';
import { readSettingFile, systemErrorCode } from './files.js';
import { formatIdentity, identityOfCertificate, identityOfPeer } from './identity.js';
import type { Identity, Role } from './identity.js';
import { nothingRevoked, readRevocationList } from './revocation.js';
import type { RevocationList } from './revocation.js';
import type { TlsSource } from './tls-source.js';

/** What a party's TLS files hold. */
export interface TlsMaterial {
  /** The authority's certificate or certificates, PEM. */
  readonly ca: Buffer;
  /** The party's own certificate, PEM, with intermediates if any. */
  readonly certificate: Buffer;
  /** The party's own key, PEM. */
  readonly key: Secret<Buffer>;
  /** The authority's revocation list or lists, PEM, if there are any. */
  readonly crl?: Buffer | undefined;
}

/** A party's checked TLS material, ready for use at either end of a connection. */
export interface Tls extends TlsMaterial {
  /** Who the party is, as its own certificate says. */
  readonly identity: Identity;
  /** When its own certificate expires. */
  readonly validTo: Date;
  /** When the authority's expires; of several that are valid, the first one to expire. */
  readonly caValidTo: Date;
  /** Whose certificates are not believed any more. */
  readonly revoked: RevocationList;
}

/**
 * Reads and checks the files that the `tls` settings name.
 * @throws CONFIG_INVALID: which file is missing, not PEM, expired, not yet valid, without an
 * identity, or a key of another certificate; a revocation list that is not the authority's
 */
export async function loadTls(files: CredentialFiles, clock: Clock = systemClock): Promise<Tls> {
  return parseTls(await readTlsFiles(files), files, clock);
}

/** @throws CONFIG_INVALID where a file is missing; there may be no revocation list */
export async function readTlsFiles(files: CredentialFiles): Promise<TlsMaterial> {
  const [ca, certificate, key, crl] = await Promise.all([
    readSettingFile(files.ca, 'tls.ca'),
    readSettingFile(files.certificate, 'tls.certificate'),
    readSettingFile(files.key, 'tls.key'),
    readIfPresent(files.crl, 'tls.crl'),
  ]);
  return { ca, certificate, key: new Secret(key), crl };
}

/** @throws CONFIG_INVALID as {@link loadTls} */
export async function parseTls(
  material: TlsMaterial,
  names: CredentialFiles,
  clock: Clock,
): Promise<Tls> {
  const tls = checkTls(material, names, clock);
  if (material.crl === undefined) return tls;
  const issuers = [material.ca, material.certificate].flatMap(certificatesIn);
  return { ...tls, revoked: await readRevocationList(material.crl, issuers, names.crl) };
}

/**
 * With another role's certificate nobody would talk to a party.
 * @throws CONFIG_INVALID
 */
export function requireRole(tls: Tls, role: Role, files: CredentialFiles): void {
  if (tls.identity.role === role) return;
  const found = formatIdentity(tls.identity);
  throw tlsError('tls.certificate', files.certificate, `is that of ${found}, which is no ${role}`);
}

/**
 * A party stays who it is for its life.
 * @throws CONFIG_INVALID
 */
export function requireIdentity(tls: Tls, identity: Identity, files: CredentialFiles): void {
  const [found, expected] = [formatIdentity(tls.identity), formatIdentity(identity)];
  if (found === expected) return;
  const what = `is that of ${found}, but this party is ${expected}: restart it`;
  throw tlsError('tls.certificate', files.certificate, what);
}

/**
 * A revocation list that is gone would give back what was taken: an empty one has to say so.
 * @throws CONFIG_INVALID
 */
export function requireListKept(tls: Tls, before: Tls, files: CredentialFiles): void {
  if (tls.crl === undefined && before.crl !== undefined) {
    throw tlsError('tls.crl', files.crl, 'is gone: a list that revokes nothing has to say so');
  }
}

/**
 * As {@link loadTls} for credentials in memory; nothing is revoked.
 * @throws CONFIG_INVALID
 */
export function tlsFromCredentials(credentials: Credentials, clock: Clock = systemClock): Tls {
  const material = {
    ca: Buffer.from(credentials.ca),
    certificate: Buffer.from(credentials.certificate),
    key: new Secret(Buffer.from(credentials.key.reveal())),
  };
  const names = { ca: 'ca', certificate: 'certificate', key: 'key', crl: 'crl' };
  return checkTls(material, names, clock);
}

async function readIfPresent(file: string, setting: string): Promise<Buffer | undefined> {
  try {
    return await readSettingFile(file, setting);
  } catch (error) {
    if (error instanceof Error && systemErrorCode(error.cause) === 'ENOENT') return undefined;
    throw error;
  }
}

function checkTls(material: TlsMaterial, names: CredentialFiles, clock: Clock): Tls {
  const now = clock.now();
  const caValidTo = requireAuthority(material.ca, names.ca, now);
  const leaf = parseCertificate(material.certificate, 'tls.certificate', names.certificate);
  requireValid(leaf, 'tls.certificate', names.certificate, now);
  if (!leaf.checkPrivateKey(parseKey(material.key, names.key))) {
    throw tlsError('tls.key', names.key, `is not the key of ${names.certificate}`);
  }
  const identity = identityOfCertificate(leaf);
  if (identity === undefined) {
    throw tlsError(
      'tls.certificate',
      names.certificate,
      'carries no identity: it needs exactly one URI among its subject alternative names, of the ' +
        'form spiffe://<trust domain>/<role>[/<name>]',
    );
  }
  const validTo = new Date(leaf.validTo);
  return { ...material, identity, validTo, caValidTo, revoked: nothingRevoked };
}

/**
 * A file of authorities is good while one of them is valid: so one takes over from another.
 * @returns when the first of the valid ones expires
 */
function requireAuthority(pem: Buffer, file: string, now: Date): Date {
  const first = parseCertificate(pem, 'tls.ca', file);
  const valid = certificatesIn(pem).filter((certificate) => isValid(certificate, now));
  if (valid.length === 0) requireValid(first, 'tls.ca', file, now);
  return new Date(Math.min(...valid.map(({ validTo }) => Date.parse(validTo))));
}

/** All certificates in a PEM file; those that cannot be read are left to TLS to refuse. */
function certificatesIn(pem: Buffer): X509Certificate[] {
  const blocks = pem.toString('latin1').match(certificateBlock) ?? [];
  return blocks.flatMap((block) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      return [];
    }
  });
}

const certificateBlock = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

function isValid({ validFrom, validTo }: X509Certificate, now: Date): boolean {
  return now >= new Date(validFrom) && now <= new Date(validTo);
}

function parseCertificate(pem: Buffer, setting: string, file: string): X509Certificate {
  try {
    if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw new Error('no PEM header');
    return new X509Certificate(pem);
  } catch {
    throw tlsError(setting, file, 'is not a certificate in PEM form');
  }
}

function parseKey(pem: Secret<Buffer>, file: string): KeyObject {
  try {
    return createPrivateKey(pem.reveal());
  } catch {
    throw tlsError('tls.key', file, 'is not an unencrypted private key in PEM form');
  }
}

function requireValid(
  certificate: X509Certificate,
  setting: string,
  file: string,
  now: Date,
): void {
  if (now > new Date(certificate.validTo)) {
    throw tlsError(setting, file, `expired on ${certificate.validTo}`);
  }
  if (now < new Date(certificate.validFrom)) {
    throw tlsError(setting, file, `is not valid before ${certificate.validFrom}`);
  }
}

function tlsError(setting: string, file: string, what: string): Error {
  return duoveilError('CONFIG_INVALID', `${setting}: ${file} ${what}`, { path: setting });
}

function contextOptions(tls: Tls): SecureContextOptions {
  return {
    ca: tls.ca,
    cert: tls.certificate,
    key: tls.key.reveal(),
    minVersion: 'TLSv1.3',
  };
}

// gRPC's own factory for server credentials has no way to state a minimum version.
class MutualTlsServerCredentials extends ServerCredentials {
  constructor(source: TlsSource) {
    const options = contextOptions(source.current);
    super({ requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' }, options);
    source.subscribe((tls) => {
      this.updateSecureContextOptions(contextOptions(tls));
    });
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/**
 * A server's side: TLS 1.3, and no call without a client certificate of the same authority. New
 * connections are made with what is in force then.
 */
export function serverCredentials(source: TlsSource): ServerCredentials {
  return new MutualTlsServerCredentials(source);
}

/** A client's side of one connection, with the channel options that belong to it. */
export interface ClientTls {
  readonly credentials: ChannelCredentials;
  readonly options: { readonly 'grpc.ssl_target_name_override'?: string };
  /** Why the last server was refused that did have a certificate of the authority, if one was. */
  refusal(): string | undefined;
  /** The serial number of the last server's certificate that was accepted, if one was. */
  peerSerial(): string | undefined;
  /** When that certificate expires. */
  peerValidTo(): Date | undefined;
}

/**
 * A client's side: TLS 1.3; the server's certificate must be of the same authority, name the host
 * that was dialled, hold the expected role in the client's own trust domain, and not be revoked.
 * @param host the DNS name or IP address dialled
 */
export function clientTls(tls: Tls, host: string, expectRole: 'csp' | 'sp'): ClientTls {
  let refusal: string | undefined;
  let peerSerial: string | undefined;
  let peerValidTo: Date | undefined;
  const credentials = ChannelCredentials.createFromSecureContext(
    createSecureContext(contextOptions(tls)),
    {
      checkServerIdentity: (_name, certificate) => {
        // Giving this callback replaces Node's own check of the host, so that comes first.
        const hostError = checkServerIdentity(host, certificate);
        const identity = identityOfPeer(certificate);
        const expected = { trustDomain: tls.identity.trustDomain, role: expectRole };
        if (hostError !== undefined) {
          refusal = `its certificate does not name the host ${host}`;
        } else if (
          identity?.role !== expectRole ||
          identity.trustDomain !== tls.identity.trustDomain
        ) {
          const found = identity === undefined ? 'no identity' : formatIdentity(identity);
          refusal = `its certificate holds ${found}, expected ${formatIdentity(expected)}`;
        } else if (tls.revoked.has(certificate.serialNumber)) {
          refusal = 'its certificate was revoked';
        } else {
          refusal = undefined;
          peerSerial = certificate.serialNumber;
          peerValidTo = new Date(certificate.valid_to);
        }
        return refusal === undefined ? undefined : new Error(refusal);
      },
    },
  );
  return {
    credentials,
    // The name sent in the clear must not be an IP address. Our servers ignore it, and the check
    // above uses the address that was dialled.
    options: isIP(host) === 0 ? {} : { 'grpc.ssl_target_name_override': expectRole },
    refusal: () => refusal,
    peerSerial: () => peerSerial,
    peerValidTo: () => peerValidTo,
  };
}
