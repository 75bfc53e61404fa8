/** The operators' HTTP server of a service provider that runs. */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';

import type { ParametersDigest } from '@duoveil/common/bcp';
import type { RandomSource } from '@duoveil/common/random';
import {
  metrics,
  type Clock,
  type Connection,
  type Logger,
  type TlsSource,
} from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';

import type { Fleet } from '../fleet/fleet.js';
import { LiveSystem } from './live-system.js';
import { startHttp, type HttpFiles, type HttpServer } from './server.js';
import type { HttpOptions } from './settings.js';

/** What there is of a service provider. */
export interface Operated {
  readonly settings: HttpOptions;
  readonly files: HttpFiles;
  readonly fleet: Fleet;
  readonly csp: Connection;
  readonly parametersDigest: ParametersDigest;
  readonly storeKey: Secret<Uint8Array>;
  /** Among the parties. */
  readonly tls: TlsSource;
  readonly isReady: () => boolean;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: RandomSource;
}

/**
 * Starts it, with the dashboard where that is installed.
 * @throws DuoveilError `CONFIG_INVALID` where it cannot listen
 */
export async function serveOperators(operated: Operated): Promise<HttpServer> {
  const { files, tls } = operated;
  const system = new LiveSystem({
    ...operated,
    certificateValidTo: () => tls.current.validTo,
    httpValidTo: () => files.tls?.current.validTo,
  });
  const unobserve = metrics.certificateExpiry.observe((report) => {
    const validTo = files.tls?.current.validTo;
    if (validTo === undefined) return;
    const seconds = (validTo.getTime() - operated.clock.now().getTime()) / 1000;
    report(seconds, { 'duoveil.certificate': 'http' });
  });
  const server = await startHttp({ ...operated, system, dashboard: dashboardDirectory() });
  return {
    url: server.url,
    drain: async (graceMs) => {
      await server.drain(graceMs);
      system.close();
      unobserve();
    },
  };
}

/** A package of files: nothing of it runs here. */
const DASHBOARD = '@duoveil/dashboard/index.html';

function dashboardDirectory(): string | undefined {
  try {
    return dirname(createRequire(import.meta.url).resolve(DASHBOARD));
  } catch {
    return undefined;
  }
}
