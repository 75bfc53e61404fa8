/** Alarms of a whole deployment: from a sample to an operator and a web server, through a power failure. */
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { Bell, callServerStream, parsePatientId } from '@duoveil/common/runtime';
import { AlarmServiceService, type Alarm } from '@duoveil/proto';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { Deployment, identity } from './support/deployment.js';
import { duoveil } from './support/duoveil.js';
import { HandMadeGateway } from './support/hand-made.js';

const PATIENT = parsePatientId('patient-1', 'patient');
const SECRET = 'the secret of the receiver';
const CALM = Array.from({ length: 7 }, (_, i) => [600n + BigInt(i % 3), 650n + BigInt(i % 2)]);
const BAD = Array.from({ length: 4 }, (_, i) => [1200n + BigInt(i), 400n]);

let receiver: Server;
let deployment: Deployment;
/** What the web server was told, in order; of what is not signed nothing. */
const told: string[] = [];
const arrival = new Bell();

beforeAll(async () => {
  receiver = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { headers } = request;
      const signed = `${String(headers['x-duoveil-timestamp'])}.${Buffer.concat(parts).toString()}`;
      const mac = createHmac('sha256', SECRET).update(signed).digest('hex');
      const genuine = headers['x-duoveil-signature'] === `sha256=${mac}`;
      if (genuine) told.push(String(headers['idempotency-key']));
      response.writeHead(genuine ? 200 : 401).end();
      arrival.ring();
    });
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const { port } = receiver.address() as AddressInfo;
  deployment = await Deployment.start({
    environment: {
      DUOVEIL_ALARM_RULES: '1:3/5',
      DUOVEIL_WEBHOOK_URL: `http://127.0.0.1:${String(port)}/alarms`,
      DUOVEIL_WEBHOOK_SECRET: SECRET,
    },
  });
});
afterAll(async () => {
  await deployment.close();
  receiver.closeAllConnections();
  receiver.close();
});

/** `duoveil operator …` as somebody. */
async function operator(tls: string, command: string, ...options: string[]) {
  const to = ['--address', deployment.servers.address, '--tls', tls];
  const { code, output, log } = await duoveil(['operator', command, ...to, ...options]);
  return { code, log, alarms: output.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

test('an alarm is raised, told, acknowledged and cleared once, and a baseline learnt anew', async () => {
  const { servers } = deployment;
  const alice = await servers.issue('alice', identity('operator', parsePatientId('alice', 'name')));
  const connection = await deployment.connect('sp', identity('gateway', PATIENT));
  const gateway = await HandMadeGateway.create(connection, await deployment.bcp(), PATIENT);
  await gateway.enrol();
  const watching = await deployment.connect('sp', identity('operator'));
  const stop = new AbortController();
  const changes = callServerStream(
    watching,
    AlarmServiceService.watchAlarms,
    { patientId: '' },
    { signal: stop.signal },
  );
  const next = async (): Promise<readonly Alarm[]> => (await changes.next()).value?.alarms ?? [];
  // From here on it is told of everything.
  expect(await next()).toEqual([]);
  await gateway.deliver(CALM);
  await gateway.deliver(BAD);
  expect(await next()).toMatchObject([
    {
      ...{ id: 'patient-1:1', patientId: 'patient-1', sequence: 10n, suppressed: false },
      cause: { $case: 'level', value: { level: 1, count: 3, of: 5 } },
    },
  ]);
  await gateway.watch(11);
  const id = 'patient-1:1';
  expect(await operator(alice, 'alarms', '--active', '--unacknowledged')).toMatchObject({
    code: 0,
    alarms: [{ id, kind: 'level', rule: { level: 1, count: 3, of: 5 }, sequence: 10 }],
  });
  await arrival.until(() => told.length > 0);
  const acknowledged = { by: 'alice', at: expect.any(String) as string };
  expect(await operator(alice, 'acknowledge', '--alarm', id)).toMatchObject({
    code: 0,
    alarms: [{ id, acknowledged }],
  });
  await arrival.until(() => told.length > 1);
  stop.abort();

  servers.sp.kill();
  await expect
    .poll(() => operator(alice, 'alarms').then(({ code }) => code), { timeout: 30_000 })
    .toBe(0);
  const { alarms } = await operator(alice, 'alarms');
  expect(alarms).toMatchObject([{ id, acknowledged }]);
  expect(alarms[0]).not.toHaveProperty('clearedAt');
  await gateway.deliver(CALM);
  await gateway.watch(18);
  expect((await operator(alice, 'alarms')).alarms).toMatchObject([
    { id, acknowledged, clearedAt: expect.any(String) as string },
  ]);
  await arrival.until(() => told.at(-1) === `${id}/cleared-acknowledged`);
  expect([...new Set(told)]).toEqual(
    ['active-unacknowledged', 'active-acknowledged', 'cleared-acknowledged'].map(
      (state) => `${id}/${state}`,
    ),
  );

  expect(await operator(alice, 'relearn', '--patient', PATIENT)).toMatchObject({ code: 0 });
  await gateway.deliver(CALM);
  const events = await gateway.watch(25, 19);
  const outcomes = events.flatMap((event) =>
    event.$case === 'decision' ? [event.value.outcome?.$case] : [],
  );
  expect(outcomes).toEqual([...Array<string>(5).fill('learning'), 'scored', 'scored']);
});

test('alarms are for operators, and wrong requests are refused', async () => {
  const { servers } = deployment;
  const gateway = await servers.issueGateway(PATIENT);
  const refused = await operator(gateway, 'alarms');
  expect(refused.code).toBe(1);
  expect(refused.log.at(-1)).toContain('[PERMISSION_DENIED]');
  const alice = await servers.issue('operator', identity('operator'));
  const wrong: [string, string[], string][] = [
    ['acknowledge', ['--alarm', 'patient-1:99'], 'ALARM_UNKNOWN'],
    ['acknowledge', ['--alarm', 'a'.repeat(80)], 'MESSAGE_INVALID'],
    ['relearn', ['--patient', 'nobody'], 'PATIENT_NOT_ENROLLED'],
    ['suppress', ['--patient', PATIENT, '--minutes', '2000', '--reason', 'x'], 'OPTION_INVALID'],
    ['watch', ['--patient', 'nobody'], 'PATIENT_NOT_ENROLLED'],
  ];
  for (const [command, options, code] of wrong) {
    expect((await operator(alice, command, ...options)).log.at(-1)).toContain(`[${code}]`);
  }
  const quiet = ['--patient', PATIENT, '--minutes', '5', '--reason', 'washing'];
  expect(await operator(alice, 'suppress', ...quiet)).toMatchObject({ code: 0 });
  expect(await operator(alice, 'unsuppress', '--patient', PATIENT)).toMatchObject({ code: 0 });
});
