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
import { readSettingFile } from './files.js';
import { formatIdentity, identityOfCertificate, identityOfPeer } from './identity.js';
import type { Identity, Role } from './identity.js';

/** A party's checked TLS material, ready for use at either end of a connection. */
export interface Tls {
  /** The authority's certificate or certificates, PEM. */
  readonly ca: Buffer;
  /** The party's own certificate, PEM, with intermediates if any. */
  readonly certificate: Buffer;
  /** The party's own key, PEM. */
  readonly key: Secret<Buffer>;
  /** Who the party is, as its own certificate says. */
  readonly identity: Identity;
}

/**
 * Reads and checks the files that the `tls` settings name.
 * @throws CONFIG_INVALID: which file is missing, not PEM, expired, not yet valid, without an
 * identity, or a key of another certificate
 */
export async function loadTls(files: CredentialFiles, clock: Clock = systemClock): Promise<Tls> {
  const [ca, certificate, key] = await Promise.all([
    readSettingFile(files.ca, 'tls.ca'),
    readSettingFile(files.certificate, 'tls.certificate'),
    readSettingFile(files.key, 'tls.key'),
  ]);
  return checkTls({ ca, certificate, key: new Secret(key) }, files, clock);
}

/**
 * The same for a party that has one role: with another one's certificate nobody would talk to it.
 * @throws CONFIG_INVALID where the certificate holds another role, too
 */
export async function loadTlsOf(role: Role, files: CredentialFiles): Promise<Tls> {
  const tls = await loadTls(files);
  if (tls.identity.role === role) return tls;
  const found = formatIdentity(tls.identity);
  throw tlsError('tls.certificate', files.certificate, `is that of ${found}, which is no ${role}`);
}

/**
 * The same for credentials in memory.
 * @throws CONFIG_INVALID
 */
export function tlsFromCredentials(credentials: Credentials, clock: Clock = systemClock): Tls {
  const material = {
    ca: Buffer.from(credentials.ca),
    certificate: Buffer.from(credentials.certificate),
    key: new Secret(Buffer.from(credentials.key.reveal())),
  };
  return checkTls(material, { ca: 'ca', certificate: 'certificate', key: 'key' }, clock);
}

function checkTls(material: Omit<Tls, 'identity'>, names: CredentialFiles, clock: Clock): Tls {
  const now = clock.now();
  requireValid(parseCertificate(material.ca, 'tls.ca', names.ca), 'tls.ca', names.ca, now);
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
  return { ...material, identity };
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
  constructor(tls: Tls) {
    const options = contextOptions(tls);
    super({ requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' }, options);
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/** A server's side: TLS 1.3, and no call without a client certificate of the same authority. */
export function serverCredentials(tls: Tls): ServerCredentials {
  return new MutualTlsServerCredentials(tls);
}

/** A client's side of one connection, with the channel options that belong to it. */
export interface ClientTls {
  readonly credentials: ChannelCredentials;
  readonly options: { readonly 'grpc.ssl_target_name_override'?: string };
  /** Why the last server was refused that did have a certificate of the authority, if one was. */
  refusal(): string | undefined;
}

/**
 * A client's side: TLS 1.3; the server's certificate must be of the same authority, name the host
 * that was dialled, and hold the expected role in the client's own trust domain.
 * @param host the DNS name or IP address dialled
 */
export function clientTls(tls: Tls, host: string, expectRole: 'csp' | 'sp'): ClientTls {
  let refusal: string | undefined;
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
        } else {
          refusal = undefined;
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
  };
}
