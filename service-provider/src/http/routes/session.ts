/** Signing in with a token, and out. */
import { duoveilError } from '@duoveil/common/errors';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';

import { callerOf, dropSession, keepSession } from '../access.js';
import type { HttpApp } from '../app.js';
import type { HttpEnvironment } from '../environment.js';
import type { OperatorRole } from '../roles.js';
import { SESSION_MS, type Session } from '../sessions.js';
import { sessionSchema } from '../wire.js';
import { nothing, problems } from './common.js';

const signInSchema = z.object({
  token: z.boolean().describe('are tokens accepted?'),
  oidc: z
    .object({ name: z.string() })
    .nullable()
    .describe('the identity provider, if there is one'),
});

const tokenBody = z.strictObject({ token: z.string().min(1).max(256) });

export function sessionRoutes(app: HttpApp, environment: HttpEnvironment): void {
  const { operators, oidc, events, sessions } = environment;
  const attempts = { max: environment.limits.signInsPerMinute, timeWindow: 60_000 };

  app.get(
    '/sign-in',
    {
      config: { access: 'anyone' },
      schema: { summary: 'How one may sign in', response: { 200: signInSchema, ...problems } },
    },
    () => ({
      token: operators() !== undefined,
      oidc: oidc === undefined ? null : { name: oidc.name },
    }),
  );

  app.post(
    '/session',
    {
      config: { access: 'anyone', rateLimit: attempts },
      schema: {
        summary: 'Sign in with a token; sets the cookie of the session',
        body: tokenBody,
        response: { 200: sessionSchema, ...problems },
      },
    },
    (request, reply) => {
      const operator = operators()?.ofToken(request.body.token);
      if (operator === undefined) throw duoveilError('SIGN_IN_FAILED', 'the token is not accepted');
      return encodeSession(signIn(environment, reply, operator));
    },
  );

  app.get(
    '/session',
    {
      config: { access: 'viewer' },
      schema: { summary: 'Who is signed in', response: { 200: sessionSchema, ...problems } },
    },
    (request) => encodeSession(callerOf(request)),
  );

  app.delete(
    '/session',
    {
      config: { access: 'viewer' },
      schema: { summary: 'Sign out', response: { 204: nothing, ...problems } },
    },
    (request, reply) => {
      const session = callerOf(request);
      sessions.end(session);
      events.endSession(session);
      dropSession(reply, environment);
      environment.logger.info('operator signed out', { operator: session.name });
      void reply.code(204).send();
    },
  );
}

/** Begins the session of somebody who has shown who they are. */
export function signIn(
  { sessions, logger, secure }: HttpEnvironment,
  reply: FastifyReply,
  who: { readonly name: string; readonly role: OperatorRole; readonly tokenSha256?: string },
): Session {
  const { name, role, tokenSha256 } = who;
  const session = sessions.begin({ name, role, ...(tokenSha256 !== undefined && { tokenSha256 }) });
  keepSession(reply, session, { sessions, secure });
  logger.info('operator signed in', { operator: name, role });
  return session;
}

function encodeSession({
  name,
  role,
  csrfToken,
  startedAt,
}: Session): z.output<typeof sessionSchema> {
  return { name, role, csrfToken, expiresAt: new Date(startedAt + SESSION_MS).toISOString() };
}
