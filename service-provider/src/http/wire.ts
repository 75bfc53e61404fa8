/**
 * What the HTTP API says, as JSON: its schemas, and the fleet's types encoded. Only what is named here is
 * sent: levels, times and who did what, never a vital sign.
 */
import { z } from 'zod';

import { ALARM_ID, type Alarm, type Suppression } from '../alarms/alarm.js';
import type {
  BaselineNotice,
  FleetChange,
  LevelPoint,
  PatientDetail,
  PatientSummary,
} from '../fleet/fleet.js';
import { operatorRoles } from './roles.js';

/** A time as it is sent. */
export const time = z.string().meta({ format: 'date-time' }).describe('ISO 8601, UTC');

/** A pseudonym, as {@link PatientId} has it. */
export const patientName = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 of A-Z, a-z, 0-9, dot, underscore and hyphen');

/** As {@link AlarmId} has it. */
export const alarmName = z
  .string()
  .regex(ALARM_ID, 'must be <patient>:<number>')
  .describe('<patient>:<number>');

const levelPoint = z
  .tuple([z.int().min(1), z.int(), z.int().min(-2)])
  .describe('sequence, time in milliseconds since 1970, level; -1 learning, -2 unscorable')
  .meta({ id: 'LevelPoint' });

const act = z.object({ by: z.string(), at: time });

const alarmKinds = ['level', 'gap', 'silence'] as const satisfies Alarm['cause']['kind'][];
export const alarmKind = z.enum(alarmKinds);

const levelRule = z
  .object({ level: z.int().min(1), count: z.int().min(1), of: z.int().min(1) })
  .describe('at least count of the last of scored samples have level or more');

export const alarmSchema = z
  .object({
    id: alarmName,
    patient: patientName,
    kind: alarmKind,
    rule: levelRule.optional().describe('of a level alarm'),
    from: time.optional().describe('of a gap: the last sample before it'),
    to: time.optional().describe('of a gap: the first sample after it'),
    since: time.optional().describe('of a silence: the last sample'),
    sequence: z.int().min(0).describe('after which sample it was raised'),
    raisedAt: time,
    clearedAt: time.optional().describe('absent while it is active'),
    acknowledged: act.optional().describe('absent until somebody has'),
    escalatedAt: time.optional(),
    suppressed: z.boolean(),
  })
  .meta({ id: 'Alarm' });

export const suppressionSchema = act
  .extend({ until: time, reason: z.string() })
  .meta({ id: 'Suppression' });

const summaryFields = {
  patient: patientName,
  recent: z.array(levelPoint).describe('the last samples, at most 60, in order'),
  lastSeen: time.optional().describe('absent before the first sample'),
  state: z.enum(['waiting', 'learning', 'monitoring', 'silent']),
  highestLevel: z.int().min(0),
  alarms: z.array(alarmSchema).describe('active or unacknowledged ones, the last one first'),
  suppression: suppressionSchema.optional(),
  model: z.int().min(0).describe('the number of the last baseline; 0 before the first'),
  pending: z
    .int()
    .min(0)
    .optional()
    .describe('samples that wait for a decision; absent where another replica knows'),
};

export const summarySchema = z.object(summaryFields).meta({ id: 'PatientSummary' });

const baselineSchema = z
  .object({
    model: z.int().min(1),
    throughSequence: z.int().min(0),
    trainedAt: time,
    trainMs: z.number().min(0),
    reason: z.enum(['first', 'rolling', 'policy', 'operator']),
    by: z.string().optional().describe('the operator who asked for it'),
  })
  .meta({ id: 'Baseline' });

export const detailSchema = z
  .object({
    ...summaryFields,
    channels: z.array(z.string()),
    window: z.int().min(1),
    baseline: z.enum(['fixed', 'rolling']),
    enrolledAt: time,
    baselines: z.array(baselineSchema),
    history: z.array(alarmSchema).describe('all alarms that are kept, the last one first'),
  })
  .meta({ id: 'PatientDetail' });

export const changeSchema = z
  .object({
    summary: summarySchema,
    changed: z.array(alarmSchema).describe('raised, cleared, acknowledged or escalated by it'),
  })
  .meta({ id: 'FleetChange' });

export const timelineSchema = z.object({ points: z.array(levelPoint) });

export const sessionSchema = z
  .object({
    name: z.string(),
    role: z.enum(operatorRoles),
    csrfToken: z.string().describe('for the header x-csrf-token of calls that change something'),
    expiresAt: time.describe('at the latest; half an hour without a call ends it too'),
  })
  .meta({ id: 'Session' });

export type AlarmJson = z.output<typeof alarmSchema>;
export type SummaryJson = z.output<typeof summarySchema>;
export type DetailJson = z.output<typeof detailSchema>;
export type ChangeJson = z.output<typeof changeSchema>;
export type SuppressionJson = z.output<typeof suppressionSchema>;
export type LevelPointJson = z.output<typeof levelPoint>;

export function encodePoint({ sequence, at, level }: LevelPoint): LevelPointJson {
  return [sequence, at.getTime(), level === 'learning' ? -1 : level === 'unscorable' ? -2 : level];
}

export function encodeAlarm(alarm: Alarm): AlarmJson {
  const { id, patient, sequence, raisedAt, clearedAt, acknowledged, escalatedAt } = alarm;
  return {
    ...{ id, patient, ...encodeCause(alarm.cause), sequence, raisedAt: raisedAt.toISOString() },
    ...(clearedAt && { clearedAt: clearedAt.toISOString() }),
    ...(acknowledged && {
      acknowledged: { by: acknowledged.by, at: acknowledged.at.toISOString() },
    }),
    ...(escalatedAt && { escalatedAt: escalatedAt.toISOString() }),
    suppressed: alarm.suppressed,
  };
}

function encodeCause(
  cause: Alarm['cause'],
): Pick<AlarmJson, 'kind' | 'rule' | 'from' | 'to' | 'since'> {
  switch (cause.kind) {
    case 'level': {
      const { level, count, of } = cause.rule;
      return { kind: 'level', rule: { level, count, of } };
    }
    case 'gap':
      return { kind: 'gap', from: cause.from.toISOString(), to: cause.to.toISOString() };
    case 'silence':
      return { kind: 'silence', since: cause.since.toISOString() };
  }
}

export function encodeSuppression({ by, at, until, reason }: Suppression): SuppressionJson {
  return { by, at: at.toISOString(), until: until.toISOString(), reason };
}

export function encodeSummary(summary: PatientSummary): SummaryJson {
  const { patient, recent, lastSeen, state, highestLevel, alarms } = summary;
  const { suppression, model, pending } = summary;
  return {
    patient,
    recent: recent.map(encodePoint),
    ...(lastSeen && { lastSeen: lastSeen.toISOString() }),
    ...{ state, highestLevel, alarms: alarms.map(encodeAlarm) },
    ...(suppression && { suppression: encodeSuppression(suppression) }),
    model,
    ...(pending !== undefined && { pending }),
  };
}

export function encodeDetail(detail: PatientDetail): DetailJson {
  const { channels, window, baseline, enrolledAt, baselines, history } = detail;
  return {
    ...encodeSummary(detail),
    ...{ channels: [...channels], window, baseline, enrolledAt: enrolledAt.toISOString() },
    baselines: baselines.map(encodeBaseline),
    history: history.map(encodeAlarm),
  };
}

function encodeBaseline(notice: BaselineNotice): DetailJson['baselines'][number] {
  const { model, throughSequence, trainedAt, trainMs, reason, by } = notice;
  return {
    ...{ model, throughSequence, trainedAt: trainedAt.toISOString(), trainMs, reason },
    ...(by !== undefined && { by }),
  };
}

export function encodeChange({ summary, changed }: FleetChange): ChangeJson {
  return { summary: encodeSummary(summary), changed: changed.map(encodeAlarm) };
}
