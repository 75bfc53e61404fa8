/** For this room's own tests: a deployment in memory, and what reads a log. Not exported. */
import { Writable } from 'node:stream';
import type { RandomSource } from '../random.js';
import { createAuthority, issueCertificate } from './certificates.js';
import type { Authority } from './certificates.js';
import { connect } from './client.js';
import type { Connection, ConnectOptions } from './client.js';
import type { Clock } from './clock.js';
import { parseIdentity } from './identity.js';
import type { Identity } from './identity.js';
import { silentLogger } from './logging.js';
import { startServer } from './server.js';
import type { RunningServer, ServerOptions } from './server.js';
import { tlsFromCredentials } from './tls.js';
import type { Tls } from './tls.js';

/** A clock that stands still at a moment. */
export function clockAt(now: Date): Clock {
  return { now: () => now, monotonicMs: () => 0 };
}

/** An identity of the test deployment, from what follows the trust domain. */
export function identity(path: string, trustDomain = 'test.internal'): Identity {
  const parsed = parseIdentity(`spiffe://${trustDomain}/${path}`);
  if (parsed === undefined) throw new Error(`not an identity: ${path}`);
  return parsed;
}

/** TLS material for an identity, valid for 10 days from `now`, for `localhost` and `127.0.0.1`. */
export async function issue(
  authority: Authority,
  who: Identity,
  options: { now?: Date; hosts?: readonly string[] } = {},
): Promise<Tls> {
  const now = options.now ?? new Date();
  const hosts = options.hosts ?? ['localhost', '127.0.0.1'];
  const credentials = await issueCertificate(authority, { identity: who, hosts, days: 10, now });
  return tlsFromCredentials(credentials, clockAt(now));
}

/** A new authority, valid for ten years around now. */
export function authority(commonName = 'test authority'): Promise<Authority> {
  const now = new Date(Date.now() - 5 * 365 * 86_400_000);
  return createAuthority({ commonName, days: 3650, now });
}

/** Servers and connections that are closed together. */
export class Loopback {
  readonly #closers: (() => Promise<void> | void)[] = [];

  async serve(
    tls: Tls,
    services: ServerOptions['services'],
    options: Partial<ServerOptions> = {},
  ): Promise<RunningServer> {
    const server = await startServer({
      listen: '127.0.0.1:0',
      tls,
      services,
      logger: silentLogger(),
      ...options,
    });
    this.#closers.push(() => server.drain(100));
    return server;
  }

  connect(
    address: ConnectOptions['address'],
    tls: Tls,
    options: Partial<ConnectOptions> = {},
  ): Connection {
    const connection = connect({ address, tls, expectRole: 'sp', ...options });
    this.#closers.push(() => {
      connection.close();
    });
    return connection;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    this.#closers.length = 0;
  }
}

/** A stream that keeps the lines written to it. */
export function lineCollector(): { stream: Writable; lines: string[] } {
  const lines: string[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, callback) => {
      lines.push(chunk.toString('utf8').trimEnd());
      callback();
    },
  });
  return { stream, lines };
}

/** Bytes from a list, in order; throws when they run out. */
export function queuedRandom(...chunks: Uint8Array[]): RandomSource {
  return {
    bytes: (length) => {
      const chunk = chunks.shift();
      if (chunk?.length !== length) throw new Error(`no ${String(length)} random bytes queued`);
      return chunk;
    },
  };
}
