/** The servers themselves. */
import { changeLogLevel, logLevels } from '@duoveil/common/runtime';
import { z } from 'zod';

import { callerOf } from '../access.js';
import type { HttpApp } from '../app.js';
import type { HttpEnvironment } from '../environment.js';
import { systemSchema } from '../system.js';
import { problems } from './common.js';

const levelBody = z.strictObject({ level: z.enum(logLevels) });

const levelSchema = z.object({ previous: z.enum(logLevels) });

export function systemRoutes(app: HttpApp, { system, logger }: HttpEnvironment): void {
  app.get(
    '/system',
    {
      config: { access: 'viewer' },
      schema: { summary: 'How both servers are', response: { 200: systemSchema, ...problems } },
    },
    () => system.report(),
  );

  app.put(
    '/log-level',
    {
      config: { access: 'admin' },
      schema: {
        summary: 'Change how much this server logs, until it is restarted',
        body: levelBody,
        response: { 200: levelSchema, ...problems },
      },
    },
    (request) => {
      const from = logger.child({ operator: callerOf(request).name });
      return { previous: changeLogLevel(from, request.body.level) };
    },
  );
}
