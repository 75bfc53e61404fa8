/** Alarms: which there are, and that somebody has seen them. */
import { parsePatientId } from '@duoveil/common/runtime';
import { z } from 'zod';

import { parseAlarmId } from '../../alarms/alarm.js';
import type { AlarmFilter } from '../../fleet/fleet.js';
import { callerOf } from '../access.js';
import type { HttpApp } from '../app.js';
import type { HttpEnvironment } from '../environment.js';
import { alarmKind, alarmName, alarmSchema, encodeAlarm, patientName } from '../wire.js';
import { problems } from './common.js';

const alarmsSchema = z.object({ alarms: z.array(alarmSchema) });

const yesOrNo = z.enum(['true', 'false']);

const alarmsQuery = z.strictObject({
  active: yesOrNo.optional(),
  acknowledged: yesOrNo.optional(),
  kind: alarmKind.optional(),
  patient: patientName.optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(200),
});

const acknowledgeBody = z.strictObject({ ids: z.array(alarmName).min(1).max(200) });

export function alarmRoutes(app: HttpApp, { fleet }: HttpEnvironment): void {
  app.get(
    '/alarms',
    {
      config: { access: 'viewer' },
      schema: {
        summary: 'Alarms that are kept, the last one first',
        querystring: alarmsQuery,
        response: { 200: alarmsSchema, ...problems },
      },
    },
    async ({ query }) => ({
      alarms: (await fleet.alarms(filterOf(query), query.limit)).map(encodeAlarm),
    }),
  );

  app.post(
    '/alarms/acknowledge',
    {
      config: { access: 'operator' },
      schema: {
        summary: 'Acknowledge alarms: all of them or none',
        body: acknowledgeBody,
        response: { 200: alarmsSchema, ...problems },
      },
    },
    async (request) => {
      const ids = request.body.ids.map((id) => parseAlarmId(id, 'ids'));
      const alarms = await fleet.acknowledge(ids, callerOf(request).name);
      return { alarms: alarms.map(encodeAlarm) };
    },
  );
}

function filterOf(query: z.output<typeof alarmsQuery>): AlarmFilter {
  const { active, acknowledged, kind, patient } = query;
  return {
    ...(active !== undefined && { active: active === 'true' }),
    ...(acknowledged !== undefined && { acknowledged: acknowledged === 'true' }),
    ...(kind !== undefined && { kind }),
    ...(patient !== undefined && { patient: parsePatientId(patient, 'patient') }),
  };
}
