/** Signing in at an identity provider: there and back. */
import { isDuoveilError, toDuoveilError } from '@duoveil/common/errors';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';

import type { HttpApp } from '../app.js';
import type { HttpEnvironment } from '../environment.js';
import { TRANSACTION_MS, type IdentityProvider } from '../oidc.js';
import { problems } from './common.js';
import { signIn } from './session.js';

/** What the identity provider may send back; the library looks at it. */
const part = z.string().max(4096).optional();
const callbackQuery = z.looseObject({ code: part, state: part, iss: part, error: part });

const elsewhere = z.undefined().describe('Go there');

export function oidcRoutes(
  app: HttpApp,
  environment: HttpEnvironment,
  oidc: IdentityProvider,
): void {
  const { secure, limits } = environment;
  const config = {
    access: 'anyone',
    rateLimit: { max: limits.signInsPerMinute, timeWindow: 60_000 },
  } as const;
  const cookieName = secure ? '__Host-duoveil-oidc' : 'duoveil-oidc';
  // Strict would keep it back where it is needed: on the way from the identity provider.
  const cookieOptions = { httpOnly: true, sameSite: 'lax', path: '/', secure } as const;

  app.get(
    '/oidc/start',
    {
      config,
      schema: {
        summary: 'Sign in at the identity provider',
        response: { 303: elsewhere, ...problems },
      },
    },
    async (_request, reply) => {
      const { url, cookie } = await oidc.begin();
      reply.setCookie(cookieName, cookie, { ...cookieOptions, maxAge: TRANSACTION_MS / 1000 });
      return reply.redirect(url.href, 303);
    },
  );

  app.get(
    '/oidc/callback',
    {
      config,
      schema: {
        summary:
          'Where the identity provider sends browsers back to; sets the cookie of the session',
        querystring: callbackQuery,
        response: { 303: elsewhere, ...problems },
      },
    },
    async (request, reply) => {
      const cookie = request.cookies[cookieName];
      reply.clearCookie(cookieName, cookieOptions);
      try {
        const query = request.url.slice(request.url.indexOf('?'));
        const who = await oidc.finish(query.startsWith('?') ? query : '?', cookie);
        signIn(environment, reply, who);
        return await reply.redirect('/', 303);
      } catch (error) {
        if (!isDuoveilError(error) || !isNavigation(request)) throw error;
        environment.logger.warn('sign-in failed', { error: toDuoveilError(error) });
        return reply.redirect(`/?problem=${error.code}#/sign-in`, 303);
      }
    },
  );
}

/** A browser that shows what it gets; a programme gets the problem itself. */
function isNavigation({ headers }: FastifyRequest): boolean {
  return headers.accept?.includes('text/html') === true;
}
