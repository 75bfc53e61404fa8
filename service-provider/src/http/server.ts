/** The operators' HTTP server, from the settings to its end. */
import { duoveilError } from '@duoveil/common/errors';
import { formatAddress, type Address, type Clock, type Logger } from '@duoveil/common/runtime';
import type { RandomSource } from '@duoveil/common/random';
import type { Secret } from '@duoveil/common/secret';
import type { Server as TlsServer } from 'node:https';

import type { Fleet } from '../fleet/fleet.js';
import { createApp } from './app.js';
import { defaultLimits, type HttpLimits } from './environment.js';
import { Events } from './events.js';
import { LiveFiles } from './live-files.js';
import { Oidc } from './oidc.js';
import { parseOperators, type TokenOperators } from './operators.js';
import { SealedText } from './sealed-text.js';
import { Sessions } from './sessions.js';
import type { HttpOptions } from './settings.js';
import type { SystemSource } from './system.js';
import { openHttpTls, type HttpCredentials } from './tls-files.js';

/** What the server works with. */
export interface HttpServerOptions {
  readonly settings: HttpOptions;
  readonly fleet: Fleet;
  readonly system: SystemSource;
  readonly files: HttpFiles;
  /** The store's: sessions are sealed under a key that is derived from it. */
  readonly storeKey: Secret<Uint8Array>;
  /** A directory with the dashboard's built files. */
  readonly dashboard: string | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly limits?: Partial<HttpLimits>;
  /** See {@link Events}. */
  readonly heartbeatMs?: number;
}

/** What the settings name and may change while the server runs. */
export interface HttpFiles {
  readonly operators: LiveFiles<TokenOperators> | undefined;
  readonly tls: LiveFiles<HttpCredentials> | undefined;
  close(): void;
}

/** A server that listens. */
export interface HttpServer {
  /** `http://host:port` or `https://host:port`. */
  readonly url: string;
  /** Ends streams, lets requests finish for at most `graceMs` milliseconds, and ends the rest. */
  drain(graceMs: number): Promise<void>;
}

/**
 * Opens what the settings name.
 * @throws DuoveilError `CONFIG_INVALID`
 */
export async function openHttpFiles(settings: HttpOptions, logger: Logger): Promise<HttpFiles> {
  const { operatorsFile, tlsDirectory, reloadMs } = settings;
  const tls =
    tlsDirectory === undefined ? undefined : await openHttpTls(tlsDirectory, reloadMs, logger);
  const operators =
    operatorsFile === undefined
      ? undefined
      : await LiveFiles.open({
          files: [operatorsFile],
          setting: 'httpOperatorsFile',
          parse: ([content]) => parseOperators(content?.toString('utf8') ?? '', operatorsFile),
          reloadMs,
          logger,
        });
  return {
    operators,
    tls,
    close: () => {
      operators?.close();
      tls?.close();
    },
  };
}

/**
 * Starts it.
 * @throws DuoveilError `CONFIG_INVALID` where it cannot listen
 */
export async function startHttp(options: HttpServerOptions): Promise<HttpServer> {
  const { settings, files, storeKey, fleet, logger, clock, random } = options;
  const { behindProxy, publicUrl } = settings;
  const scheme = files.tls === undefined ? 'http' : 'https';
  const secure = files.tls !== undefined || publicUrl?.protocol === 'https:';
  const operators = (): TokenOperators | undefined => files.operators?.current;
  const sealed = (purpose: string): SealedText => new SealedText(storeKey, purpose, random);
  const sessions = new Sessions({ sealed: sealed('session'), operators, clock, random });
  const { heartbeatMs } = options;
  const events = new Events({
    ...{ fleet, sessions, logger },
    ...(heartbeatMs !== undefined && { heartbeatMs }),
  });
  const address = (port: number): string =>
    `${scheme}://${formatAddress({ ...settings.listen, port })}`;
  // Where the port is the system's choice nobody has told an identity provider about it.
  const base = publicUrl ?? new URL(address(settings.listen.port));
  const redirectUri = new URL('/api/v1/oidc/callback', base).href;
  const oidc =
    settings.oidc &&
    new Oidc({ ...settings.oidc, redirectUri, sealed: sealed('oidc'), clock, random });
  const limits = { ...defaultLimits, ...options.limits };
  const app = await createApp(
    {
      ...{ fleet, system: options.system, events, sessions, operators, oidc, secure },
      ...{ logger, clock, random, limits },
    },
    { credentials: files.tls?.current, behindProxy, dashboard: options.dashboard },
  );
  files.tls?.subscribe(({ certificate, key }) => {
    (app.server as unknown as TlsServer).setSecureContext({
      ...{ cert: certificate, key: key.reveal(), minVersion: 'TLSv1.3' },
    });
  });
  const url = address(await listen(app, settings.listen));
  logger.info('http listening', { url });
  return {
    url,
    drain: async (graceMs) => {
      await events.close();
      const timer = setTimeout(() => {
        app.server.closeAllConnections();
      }, graceMs);
      await app.close();
      clearTimeout(timer);
      files.close();
    },
  };
}

async function listen(
  app: Awaited<ReturnType<typeof createApp>>,
  { host, port }: Address,
): Promise<number> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    const where = formatAddress({ host, port });
    const what = 'the port is in use, or it is not possible here';
    throw duoveilError(
      'CONFIG_INVALID',
      `cannot listen on ${where}: ${what}`,
      { path: 'httpListen' },
      { cause },
    );
  }
  const address = app.server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}
