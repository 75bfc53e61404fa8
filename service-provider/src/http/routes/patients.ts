/** The fleet: everybody, one patient, and what operators do for one. */
import { parsePatientId } from '@duoveil/common/runtime';
import { z } from 'zod';

import { callerOf } from '../access.js';
import type { HttpApp } from '../app.js';
import type { HttpEnvironment } from '../environment.js';
import {
  detailSchema,
  encodeDetail,
  encodePoint,
  encodeSummary,
  encodeSuppression,
  summarySchema,
  suppressionSchema,
  timelineSchema,
} from '../wire.js';
import { nothing, patientPath, problems } from './common.js';

const patientsSchema = z.object({ patients: z.array(summarySchema) });

const timelineQuery = z.strictObject({
  from: z.coerce.number().int().min(1).default(1).describe('the first sequence'),
  limit: z.coerce.number().int().min(1).max(5000).default(1000),
});

const suppressionBody = z.strictObject({
  until: z.iso.datetime({ offset: true }).describe('at most 24 hours from now'),
  reason: z.string().trim().min(1).max(200),
});

export function patientRoutes(app: HttpApp, { fleet }: HttpEnvironment): void {
  app.get(
    '/patients',
    {
      config: { access: 'viewer' },
      schema: { summary: 'All patients', response: { 200: patientsSchema, ...problems } },
    },
    async () => ({ patients: (await fleet.patients()).map(encodeSummary) }),
  );

  app.get(
    '/patients/:id',
    {
      config: { access: 'viewer' },
      schema: {
        summary: 'One patient',
        params: patientPath,
        response: { 200: detailSchema, ...problems },
      },
    },
    async ({ params }) => encodeDetail(await fleet.patient(parsePatientId(params.id, 'id'))),
  );

  app.get(
    '/patients/:id/timeline',
    {
      config: { access: 'viewer' },
      schema: {
        summary: 'Decided samples in order',
        params: patientPath,
        querystring: timelineQuery,
        response: { 200: timelineSchema, ...problems },
      },
    },
    async ({ params, query }) => {
      const patient = parsePatientId(params.id, 'id');
      const points = await fleet.timeline(patient, query.from, query.limit);
      return { points: points.map(encodePoint) };
    },
  );

  app.post(
    '/patients/:id/relearn',
    {
      config: { access: 'operator' },
      schema: {
        summary: 'Learn the baseline anew, from the next sample on',
        params: patientPath,
        response: { 204: nothing, ...problems },
      },
    },
    async (request, reply) => {
      const patient = parsePatientId(request.params.id, 'id');
      await fleet.relearn(patient, callerOf(request).name);
      return reply.code(204).send();
    },
  );

  app.put(
    '/patients/:id/suppression',
    {
      config: { access: 'operator' },
      schema: {
        summary: "Keep the patient's alarms quiet until a time",
        params: patientPath,
        body: suppressionBody,
        response: { 200: suppressionSchema, ...problems },
      },
    },
    async (request) => {
      const { until, reason } = request.body;
      const patient = parsePatientId(request.params.id, 'id');
      const { name } = callerOf(request);
      return encodeSuppression(await fleet.suppress(patient, new Date(until), reason, name));
    },
  );

  app.delete(
    '/patients/:id/suppression',
    {
      config: { access: 'operator' },
      schema: {
        summary: 'End that',
        params: patientPath,
        response: { 204: nothing, ...problems },
      },
    },
    async (request, reply) => {
      await fleet.unsuppress(parsePatientId(request.params.id, 'id'), callerOf(request).name);
      return reply.code(204).send();
    },
  );
}
