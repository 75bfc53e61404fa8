import { duoveilError } from '@duoveil/common/errors';
import { parsePatientId, type CallContext, type PatientId } from '@duoveil/common/runtime';
import {
  AlarmKind,
  type AcknowledgeAlarmsRequest,
  type AcknowledgeAlarmsResponse,
  type ListAlarmsRequest,
  type ListAlarmsResponse,
  type RelearnBaselineRequest,
  type RelearnBaselineResponse,
  type SuppressAlarmsRequest,
  type SuppressAlarmsResponse,
  type UnsuppressAlarmsRequest,
  type UnsuppressAlarmsResponse,
  type WatchAlarmsRequest,
  type WatchAlarmsResponse,
  type Alarm as WireAlarm,
} from '@duoveil/proto';

import { parseAlarmId, type Alarm } from '../alarms/alarm.js';
import type { AlarmFilter, Fleet } from '../fleet/fleet.js';

/** Alarms that are listed unless told otherwise, and at most. */
const LISTED = { usually: 100, most: 1_000 } as const;

/** The alarms that are kept. */
export async function listAlarms(
  fleet: Fleet,
  request: ListAlarmsRequest,
): Promise<ListAlarmsResponse> {
  const limit = request.limit === 0 ? LISTED.usually : request.limit;
  if (limit > LISTED.most) throw invalid('limit', `must be at most ${String(LISTED.most)}`);
  const { active, acknowledged } = request;
  const patient = optionalPatient(request.patientId);
  const kind = kindOf(request.kind);
  const filter: AlarmFilter = {
    ...(patient !== undefined && { patient }),
    ...(active !== undefined && { active }),
    ...(acknowledged !== undefined && { acknowledged }),
    ...(kind !== undefined && { kind }),
  };
  return { alarms: (await fleet.alarms(filter, limit)).map(wireAlarm) };
}

/** Alarms as they change; first none, which says that from then on none is missed. */
export async function* watchAlarms(
  fleet: Fleet,
  request: WatchAlarmsRequest,
  context: CallContext,
): AsyncGenerator<WatchAlarmsResponse, void> {
  const patient = optionalPatient(request.patientId);
  const changes = fleet.changes(context.signal);
  if (patient !== undefined) await fleet.patient(patient);
  yield { alarms: [] };
  for await (const { summary, changed } of changes) {
    if (patient !== undefined && summary.patient !== patient) continue;
    if (changed.length > 0) yield { alarms: changed.map(wireAlarm) };
  }
}

/** Acknowledge alarms, by whom the certificate names. */
export async function acknowledgeAlarms(
  fleet: Fleet,
  { ids }: AcknowledgeAlarmsRequest,
  context: CallContext,
): Promise<AcknowledgeAlarmsResponse> {
  if (ids.length < 1 || ids.length > LISTED.most) {
    throw invalid('ids', `must have 1 to ${String(LISTED.most)} elements`);
  }
  const named = ids.map((id) => parseAlarmId(id, 'ids'));
  const alarms = await fleet.acknowledge(named, nameOf(context));
  return { alarms: alarms.map(wireAlarm) };
}

/** Keep a patient's alarms quiet. */
export async function suppressAlarms(
  fleet: Fleet,
  { patientId, untilMs, reason }: SuppressAlarmsRequest,
  context: CallContext,
): Promise<SuppressAlarmsResponse> {
  const patient = parsePatientId(patientId, 'patient_id');
  // What is no date is not within 24 hours either.
  await fleet.suppress(patient, new Date(Number(untilMs)), reason, nameOf(context));
  return {};
}

/** Let a patient's alarms be heard again. */
export async function unsuppressAlarms(
  fleet: Fleet,
  { patientId }: UnsuppressAlarmsRequest,
  context: CallContext,
): Promise<UnsuppressAlarmsResponse> {
  await fleet.unsuppress(parsePatientId(patientId, 'patient_id'), nameOf(context));
  return {};
}

/** Learn a patient's baseline anew. */
export async function relearnBaseline(
  fleet: Fleet,
  { patientId }: RelearnBaselineRequest,
  context: CallContext,
): Promise<RelearnBaselineResponse> {
  await fleet.relearn(parsePatientId(patientId, 'patient_id'), nameOf(context));
  return {};
}

function optionalPatient(id: string): PatientId | undefined {
  return id === '' ? undefined : parsePatientId(id, 'patient_id');
}

const KINDS = new Map<AlarmKind, AlarmFilter['kind']>([
  [AlarmKind.UNSPECIFIED, undefined],
  [AlarmKind.LEVEL, 'level'],
  [AlarmKind.GAP, 'gap'],
  [AlarmKind.SILENCE, 'silence'],
]);

function kindOf(kind: AlarmKind): AlarmFilter['kind'] {
  if (KINDS.has(kind)) return KINDS.get(kind);
  throw invalid('kind', 'must be a kind of alarm');
}

/** The operator's name: no other role makes these calls. */
function nameOf({ identity }: CallContext): string {
  return 'name' in identity ? identity.name : identity.role;
}

function invalid(field: string, what: string): Error {
  return duoveilError('MESSAGE_INVALID', `${field} ${what}`, { field });
}

function wireAlarm(alarm: Alarm): WireAlarm {
  const { acknowledged, clearedAt, escalatedAt } = alarm;
  return {
    id: alarm.id,
    patientId: alarm.patient,
    cause: wireCause(alarm.cause),
    sequence: BigInt(alarm.sequence),
    raisedAtMs: wireTime(alarm.raisedAt),
    clearedAtMs: clearedAt && wireTime(clearedAt),
    acknowledged: acknowledged && { by: acknowledged.by, atMs: wireTime(acknowledged.at) },
    escalatedAtMs: escalatedAt && wireTime(escalatedAt),
    suppressed: alarm.suppressed,
  };
}

function wireCause(cause: Alarm['cause']): WireAlarm['cause'] {
  switch (cause.kind) {
    case 'level':
      return { $case: 'level', value: cause.rule };
    case 'gap':
      return {
        $case: 'gap',
        value: { fromMs: wireTime(cause.from), toMs: wireTime(cause.to) },
      };
    case 'silence':
      return { $case: 'silence', value: { sinceMs: wireTime(cause.since) } };
  }
}

function wireTime(date: Date): bigint {
  return BigInt(date.getTime());
}
