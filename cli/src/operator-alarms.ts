/** `duoveil operator alarms` and so on: what an operator sees of alarms, and does about them. */
import {
  callServerStream,
  callUnary,
  connect,
  credentialFiles,
  loadTls,
  untilStopped,
  withSettings,
  type Connection,
} from '@duoveil/common/runtime';
import { AlarmKind, AlarmServiceService, type Alarm } from '@duoveil/proto';
import type { Command } from 'commander';
import { z } from 'zod';

const serverSettings = {
  address: z.string().min(1).describe('host:port of the service provider'),
  tls: z.string().min(1).describe("directory with an operator's ca.crt, tls.crt and tls.key"),
};
const anyPatient = {
  patient: z.string().min(1).optional().describe('pseudonym of a patient; all without'),
};
const onePatient = {
  patient: z.string().min(1).describe('pseudonym of the patient'),
};

const alarmsSettings = z.strictObject({
  ...serverSettings,
  ...anyPatient,
  active: z.boolean().default(false).describe('only those that are active'),
  unacknowledged: z.boolean().default(false).describe('only those that nobody has acknowledged'),
  limit: z.int().min(1).max(1_000).default(100).describe('at most so many, the last ones'),
});
const watchSettings = z.strictObject({ ...serverSettings, ...anyPatient });
const acknowledgeSettings = z.strictObject({
  ...serverSettings,
  alarm: z.array(z.string().min(1)).min(1).describe('names of alarms, with commas between'),
});
const suppressSettings = z.strictObject({
  ...serverSettings,
  ...onePatient,
  minutes: z.number().positive().max(1_440).describe('for how long, in minutes; at most a day'),
  reason: z.string().min(1).max(200).describe('why, in your words'),
});
const patientSettings = z.strictObject({ ...serverSettings, ...onePatient });

/** How long a server may take to answer, in milliseconds. */
const DEADLINE = { deadlineMs: 10_000 } as const;

/** Adds the commands that are about alarms. */
export function addAlarmCommands(operator: Command): void {
  withSettings(operator.command('alarms'), alarmsSettings, (settings) =>
    connected(settings, async (connection) => {
      const { patient: patientId = '', active, unacknowledged, limit } = settings;
      const { alarms } = await callUnary(
        connection,
        AlarmServiceService.listAlarms,
        {
          ...{ patientId, limit, kind: AlarmKind.UNSPECIFIED },
          active: active ? true : undefined,
          acknowledged: unacknowledged ? false : undefined,
        },
        DEADLINE,
      );
      print(alarms);
    }),
  ).description('list alarms, the last one first: one line of JSON for each');
  withSettings(operator.command('watch'), watchSettings, ({ patient: patientId = '', ...server }) =>
    connected(server, (connection) => watch(connection, patientId)),
  ).description('print alarms as they are raised, cleared, acknowledged or escalated');
  withSettings(operator.command('acknowledge'), acknowledgeSettings, ({ alarm: ids, ...server }) =>
    connected(server, async (connection) => {
      const method = AlarmServiceService.acknowledgeAlarms;
      print((await callUnary(connection, method, { ids }, DEADLINE)).alarms);
    }),
  ).description('acknowledge alarms: all of them or none');
  withSettings(operator.command('suppress'), suppressSettings, (settings) =>
    connected(settings, async (connection) => {
      const { patient: patientId, minutes, reason } = settings;
      const untilMs = BigInt(Math.round(Date.now() + minutes * 60_000));
      const request = { patientId, untilMs, reason };
      await callUnary(connection, AlarmServiceService.suppressAlarms, request, DEADLINE);
    }),
  ).description("keep a patient's alarms quiet for a time");
  withSettings(operator.command('unsuppress'), patientSettings, ({ patient, ...server }) =>
    connected(server, async (connection) => {
      const request = { patientId: patient };
      await callUnary(connection, AlarmServiceService.unsuppressAlarms, request, DEADLINE);
    }),
  ).description("let a patient's alarms be heard again");
  withSettings(operator.command('relearn'), patientSettings, ({ patient, ...server }) =>
    connected(server, async (connection) => {
      const request = { patientId: patient };
      await callUnary(connection, AlarmServiceService.relearnBaseline, request, DEADLINE);
    }),
  ).description("learn a patient's baseline anew, from the next sample on");
}

async function connected(
  { address, tls }: { readonly address: string; readonly tls: string },
  work: (connection: Connection) => Promise<void>,
): Promise<void> {
  const material = await loadTls(credentialFiles(tls));
  const connection = connect({ address, tls: material, expectRole: 'sp' });
  try {
    await work(connection);
  } finally {
    connection.close();
  }
}

async function watch(connection: Connection, patientId: string): Promise<void> {
  const stop = new AbortController();
  void untilStopped().then(() => {
    stop.abort();
  });
  const { signal } = stop;
  const method = AlarmServiceService.watchAlarms;
  try {
    for await (const { alarms } of callServerStream(
      connection,
      method,
      { patientId },
      { signal },
    )) {
      print(alarms);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    // Listening for its end keeps the process alive.
    process.stdin.pause();
  }
}

function print(alarms: readonly Alarm[]): void {
  for (const alarm of alarms) process.stdout.write(`${JSON.stringify(jsonOf(alarm))}\n`);
}

/** An alarm as JSON: times as ISO 8601; what is absent is left out. */
function jsonOf(alarm: Alarm): Readonly<Record<string, unknown>> {
  const { id, patientId: patient, acknowledged } = alarm;
  return {
    ...{ id, patient, ...causeOf(alarm) },
    sequence: Number(alarm.sequence),
    raisedAt: timeOf(alarm.raisedAtMs),
    clearedAt: timeOf(alarm.clearedAtMs),
    acknowledged: acknowledged && { by: acknowledged.by, at: timeOf(acknowledged.atMs) },
    escalatedAt: timeOf(alarm.escalatedAtMs),
    suppressed: alarm.suppressed,
  };
}

function causeOf({ cause }: Alarm): Readonly<Record<string, unknown>> {
  switch (cause?.$case) {
    case 'level':
      return { kind: 'level', rule: cause.value };
    case 'gap':
      return { kind: 'gap', from: timeOf(cause.value.fromMs), to: timeOf(cause.value.toMs) };
    case 'silence':
      return { kind: 'silence', since: timeOf(cause.value.sinceMs) };
    case undefined:
      return {};
  }
}

function timeOf(ms: bigint | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(Number(ms)).toISOString();
}
