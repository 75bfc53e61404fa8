/** Which routes there are: for what is refused because there is no such one. */
import { duoveilError, type DuoveilError } from '@duoveil/common/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';

import type { Access } from './access.js';

/** One route. */
export interface Route {
  readonly method: string;
  /** With `:name` where a parameter stands. */
  readonly path: string;
  /** Who may call it; undefined where that was forgotten. */
  readonly access: () => Access | undefined;
}

/** See the file's comment. */
export class Routes {
  readonly #routes: Route[] = [];

  /** Follows what is added from now on. */
  constructor(app: Pick<FastifyInstance, 'addHook'>) {
    app.addHook('onRoute', (route) => {
      // Later hooks may still say who may call it.
      const access = (): Access | undefined => route.config?.access;
      for (const method of [route.method].flat()) {
        this.#routes.push({ method, path: route.url, access });
      }
    });
    // Forgetting it opens no route, and does not go unnoticed until somebody calls either.
    app.addHook('onReady', (done) => {
      const forgotten = this.#routes.find(({ access }) => access() === undefined);
      done(forgotten && new Error(`${forgotten.path} does not say who may call it`));
    });
  }

  get all(): readonly Route[] {
    return this.#routes;
  }

  /** Why a request that meets no route is refused. */
  refusal({ method, url }: Pick<FastifyRequest, 'method' | 'url'>): DuoveilError {
    const [path = ''] = url.split('?');
    const methods = this.#routes.filter((route) => matches(route.path, path));
    if (methods.length === 0 || methods.some((route) => route.method === method)) {
      return duoveilError('ROUTE_UNKNOWN', 'there is no such path; see /api/v1/openapi.json');
    }
    const allowed = methods.map((route) => route.method);
    return duoveilError('METHOD_NOT_ALLOWED', `this path has ${allowed.join(', ')} only`, {
      allowed,
    });
  }
}

function matches(pattern: string, path: string): boolean {
  if (pattern.endsWith('*')) return false;
  const [parts, given] = [pattern.split('/'), path.split('/')];
  return (
    parts.length === given.length &&
    parts.every((part, i) => (part.startsWith(':') ? given[i] !== '' : part === given[i]))
  );
}
