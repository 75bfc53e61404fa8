/** `/metrics`, `/healthz` and `/readyz` over plain HTTP: for a local scraper and a supervisor. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { duoveilError } from '../errors.js';
import { formatAddress } from './address.js';
import type { Address } from './address.js';

/** A request may take this long, in milliseconds. */
const timeoutMs = 10_000;

/** Connections at once: a scraper, a supervisor, and somebody who looks. */
const maxConnections = 32;

/**
 * Serves until it is closed.
 * @param isReady what `/readyz` answers: 200 or 503
 * @throws CONFIG_INVALID where it cannot listen
 */
export async function serveMetrics(
  listen: Address,
  isReady: () => boolean,
  metrics: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createServer({ requestTimeout: timeoutMs, headersTimeout: timeoutMs });
  server.maxConnections = maxConnections;
  server.on('request', (request, response) => {
    const [path] = (request.url ?? '').split('?');
    if (request.method !== 'GET' && request.method !== 'HEAD') answer(response, 405, 'GET only');
    else if (path === '/metrics') metrics(request, response);
    else if (path === '/healthz') answer(response, 200, 'alive');
    else if (path !== '/readyz') answer(response, 404, 'there are /metrics, /healthz and /readyz');
    else if (isReady()) answer(response, 200, 'ready');
    else answer(response, 503, 'not ready');
  });
  try {
    server.listen(listen.port, listen.host);
    await once(server, 'listening');
  } catch (cause) {
    throw duoveilError(
      'CONFIG_INVALID',
      `cannot listen on ${formatAddress(listen)}: the port is in use, or it is not possible here`,
      { path: 'metricsListen' },
      { cause },
    );
  }
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : listen.port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
}
