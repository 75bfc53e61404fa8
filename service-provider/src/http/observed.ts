/** Requests as metrics and the log see them: by route, never with what a path or a query holds. */
import { metrics } from '@duoveil/common/runtime';
import type { FastifyInstance } from 'fastify';

import type { HttpEnvironment } from './environment.js';

export function observeRequests(
  app: FastifyInstance,
  { logger, secure }: Pick<HttpEnvironment, 'logger' | 'secure'>,
): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const { url: route } = request.routeOptions;
    const { statusCode: status, elapsedTime: ms } = reply;
    const { method } = request;
    metrics.httpCalls.record(ms / 1000, {
      'http.request.method': known.has(method) ? method : '_OTHER',
      'url.scheme': secure ? 'https' : 'http',
      ...(route !== undefined && { 'http.route': route }),
      'http.response.status_code': status,
      ...(status >= 500 && { 'error.type': String(status) }),
    });
    const fields = {
      method,
      route,
      status,
      requestId: request.id,
      operator: request.session?.name,
    };
    // What changes something is worth a line at any time.
    if (method === 'GET' || status >= 400) logger.debug('request', fields);
    else logger.info('request', fields);
    done();
  });
}

/** What may be a label: a caller can send any other word. */
const known: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']);
