/** The certificate that browsers see: of any authority that they know, not of the deployment's own. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { join } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import type { Logger } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';

import { LiveFiles } from './live-files.js';

/** A server's certificate and key, PEM. */
export interface HttpCredentials {
  readonly certificate: Buffer;
  readonly key: Secret<Buffer>;
  readonly validTo: Date;
}

/** Reads `tls.crt` and `tls.key` from a directory, and again when they change. */
export function openHttpTls(
  directory: string,
  reloadMs: number,
  logger: Logger,
): Promise<LiveFiles<HttpCredentials>> {
  return LiveFiles.open({
    files: [join(directory, 'tls.crt'), join(directory, 'tls.key')],
    setting: 'httpTls',
    parse: ([certificate, key]) => parseCredentials(certificate, key, directory),
    reloadMs,
    logger,
  });
}

/** @throws DuoveilError `CONFIG_INVALID` */
function parseCredentials(
  certificate: Buffer = Buffer.alloc(0),
  key: Buffer = Buffer.alloc(0),
  directory: string,
): HttpCredentials {
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(certificate);
  } catch {
    throw invalid(directory, 'tls.crt is no certificate in PEM form');
  }
  if (!isKeyOf(leaf, key)) {
    throw invalid(directory, 'tls.key is not the key of tls.crt, unencrypted and in PEM form');
  }
  return { certificate, key: new Secret(key), validTo: new Date(leaf.validTo) };
}

function isKeyOf(leaf: X509Certificate, key: Buffer): boolean {
  try {
    return leaf.checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

function invalid(directory: string, what: string): Error {
  return duoveilError('CONFIG_INVALID', `httpTls: ${directory}: ${what}`, { path: 'httpTls' });
}
