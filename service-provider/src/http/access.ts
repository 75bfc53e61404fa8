/** Who may make a call: looked at before anything else of it is. */
import { duoveilError } from '@duoveil/common/errors';
import type { FastifyReply, FastifyRequest } from 'fastify';

import type { HttpEnvironment } from './environment.js';
import { allows, type OperatorRole } from './roles.js';
import { isCsrfTokenOf, type Session } from './sessions.js';

/** Who may call a route: anyone, or whoever is signed in with at least this role. */
export type Access = 'anyone' | OperatorRole;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Every route states it. */
    access?: Access;
  }
  interface FastifyRequest {
    /** Who is signed in, once the route's access was granted. */
    session: Session | undefined;
  }
}

/** Calls that change nothing, and need no CSRF token. */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** The session's cookie. A browser accepts `__Host-` over TLS only, from this host, for all its paths. */
export function sessionCookie({ secure }: Pick<HttpEnvironment, 'secure'>): string {
  return secure ? '__Host-duoveil' : 'duoveil';
}

/** Writes the session's cookie. */
export function keepSession(
  reply: FastifyReply,
  session: Session,
  environment: Pick<HttpEnvironment, 'secure' | 'sessions'>,
): void {
  reply.setCookie(sessionCookie(environment), environment.sessions.seal(session), {
    ...{ httpOnly: true, sameSite: 'strict', path: '/', secure: environment.secure },
  });
}

/** Takes it away. */
export function dropSession(reply: FastifyReply, environment: { readonly secure: boolean }): void {
  reply.clearCookie(sessionCookie(environment), {
    ...{ httpOnly: true, sameSite: 'strict', path: '/', secure: environment.secure },
  });
}

/**
 * Lets a call pass or refuses it.
 * @throws DuoveilError `UNAUTHENTICATED`, `PERMISSION_DENIED`, `CSRF_TOKEN_INVALID`
 */
export function admit(
  request: FastifyRequest,
  reply: FastifyReply,
  environment: HttpEnvironment,
): void {
  const { access } = request.routeOptions.config;
  refuseOtherSites(request);
  if (access === 'anyone') return;
  const cookie = request.cookies[sessionCookie(environment)];
  const session = cookie === undefined ? undefined : environment.sessions.open(cookie);
  if (session === undefined) {
    throw duoveilError('UNAUTHENTICATED', 'nobody is signed in, or the session is over: sign in');
  }
  request.session = session;
  if (access === undefined || !allows(session.role, access)) {
    throw duoveilError(
      'PERMISSION_DENIED',
      `${session.name} has the role ${session.role}, and this needs ${access ?? 'another one'}`,
    );
  }
  if (!SAFE.has(request.method) && !isCsrfTokenOf(session, request.headers['x-csrf-token'])) {
    throw duoveilError(
      'CSRF_TOKEN_INVALID',
      "x-csrf-token must be the session's csrfToken, as GET /api/v1/session gives it",
    );
  }
  const renewed = environment.sessions.renewed(session);
  if (renewed !== undefined) keepSession(reply, renewed, environment);
}

/** What browsers say of where a call comes from; others say nothing. */
function refuseOtherSites(request: FastifyRequest): void {
  const site = request.headers['sec-fetch-site'];
  if (SAFE.has(request.method) || site === undefined) return;
  if (site === 'same-origin' || site === 'none') return;
  throw duoveilError('CSRF_TOKEN_INVALID', 'the call comes from another site');
}

/** Who made the call. */
export function callerOf({ session }: FastifyRequest): Session {
  if (session === undefined) throw new Error('a route that anyone may call asked who calls');
  return session;
}
