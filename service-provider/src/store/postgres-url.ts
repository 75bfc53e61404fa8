import { readFileSync } from 'node:fs';

import { duoveilError } from '@duoveil/common/errors';
import { systemErrorCode } from '@duoveil/common/runtime';

/** Where a PostgreSQL is, and how it is trusted. */
export interface PostgresAddress {
  /** A host name, or the directory of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly ssl:
    | false
    | { readonly ca?: string; readonly cert?: string; readonly key?: string; servername?: string };
}

const PARAMETERS = new Set(['host', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey']);

/**
 * `postgres://user@host:5432/database?sslmode=verify-full&sslrootcert=ca.crt`: TLS with a verified
 * certificate is the default, `sslmode=disable` is for a network that nobody else is on. A Unix socket
 * is given as `?host=/directory`.
 * @throws DuoveilError `OPTION_INVALID`, which never repeats the URL: it may hold a password
 */
export function parsePostgresUrl(text: string): PostgresAddress {
  const url = parsed(text);
  if (url.password !== '') {
    throw invalid(
      'must hold no password; use --database-password-file or DUOVEIL_DATABASE_PASSWORD',
    );
  }
  const user = decodeURIComponent(url.username);
  const database = decodeURIComponent(url.pathname.slice(1));
  if (user === '' || database === '') throw invalid('must name a user and a database');
  for (const name of url.searchParams.keys()) {
    if (!PARAMETERS.has(name)) {
      throw invalid(`knows the parameters ${[...PARAMETERS].join(', ')}, and no others`);
    }
  }
  const host = url.searchParams.get('host') ?? url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (host === '') throw invalid('must name a host');
  return { host, port: Number(url.port || 5432), user, database, ssl: sslOf(url, host) };
}

function parsed(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'postgres:' && url?.protocol !== 'postgresql:') {
    throw invalid('must have the form postgres://user@host:port/database');
  }
  return url;
}

function sslOf({ searchParams }: URL, host: string): PostgresAddress['ssl'] {
  const mode = searchParams.get('sslmode') ?? (host.startsWith('/') ? 'disable' : 'verify-full');
  if (mode === 'disable') return false;
  // Whatever lies between encrypts and does not look at who answers.
  if (mode !== 'verify-full') throw invalid('may have sslmode=verify-full or sslmode=disable');
  const [ca, cert, key] = ['sslrootcert', 'sslcert', 'sslkey'].map((name) => {
    const file = searchParams.get(name);
    return file === null ? undefined : readPem(file, name);
  });
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
}

function readPem(file: string, parameter: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw invalid(
      `names in ${parameter} a file that is not readable (${systemErrorCode(error) ?? 'unknown reason'})`,
    );
  }
}

function invalid(requirement: string): Error {
  return duoveilError('OPTION_INVALID', `--database-url ${requirement}`, {
    option: '--database-url',
  });
}
