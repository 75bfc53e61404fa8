/** Changes as they happen. */
import type { ServerResponse } from 'node:http';

import type { FastifyReply } from 'fastify';

import { callerOf } from '../access.js';
import type { HttpApp } from '../app.js';
import type { HttpEnvironment } from '../environment.js';
import { changeSchema } from '../wire.js';
import { problems } from './common.js';

const stream = {
  description:
    'Server-sent events from now on: `event: change` with such data; a comment every 15 s. ' +
    'It ends with the session. Read the patients once it is open: nothing is missed then.',
  content: { 'text/event-stream': { schema: changeSchema } },
};

export function eventRoutes(app: HttpApp, { events }: HttpEnvironment): void {
  app.get(
    '/events',
    {
      config: { access: 'viewer' },
      schema: { summary: 'Changes as they happen', response: { 200: stream, ...problems } },
    },
    (request, reply) => {
      const session = callerOf(request);
      events.admit(session);
      events.listen(session, begin(reply));
    },
  );
}

/** Sends the head of an answer that goes on; a proxy must not hold it back. */
function begin(reply: FastifyReply): ServerResponse {
  reply.hijack();
  return reply.raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string | string[]>),
    'content-type': 'text/event-stream; charset=utf-8',
    'x-accel-buffering': 'no',
  });
}
