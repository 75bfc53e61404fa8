/** The operators' HTTP API of real parties: from signing in to an alarm that somebody acknowledges. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { parsePatientId } from '@duoveil/common/runtime';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { Deployment } from './support/deployment.js';
import { duoveil } from './support/duoveil.js';

const PATIENT = parsePatientId('patient-7', 'patient');
const WINDOW = 8;
const ROWS = 24;

let scratch: string;
let deployment: Deployment;
let base: string;
const tokens = { viewer: '', operator: '' };

/** Calm for longer than the window, then far above. */
function recording(): string {
  const rows = Array.from({ length: ROWS }, (_, i) =>
    i < 2 * WINDOW ? `${String(70 + ((i * 3) % 5))},${String(14 + ((i * 2) % 3))}` : '150,40',
  );
  return `${['HR,RESP', ...rows].join('\n')}\n`;
}

/** A token, and what the operators' file has of it. */
async function newToken(name: string, role: string): Promise<{ token: string; line: string }> {
  const made = await duoveil(['operator', 'token', '--name', name, '--role', role]);
  expect(made.code).toBe(0);
  const [token = '', line = ''] = made.output.filter((text) => !text.startsWith('#'));
  expect(line).not.toContain(token);
  return { token, line };
}

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'duoveil-test-'));
  const [viewer, operator] = [await newToken('vera', 'viewer'), await newToken('olga', 'operator')];
  Object.assign(tokens, { viewer: viewer.token, operator: operator.token });
  const file = join(scratch, 'operators.yaml');
  await writeFile(file, `operators:\n${viewer.line}\n${operator.line}\n`);
  deployment = await Deployment.start({
    environment: {
      DUOVEIL_HTTP_LISTEN: '127.0.0.1:0',
      DUOVEIL_HTTP_OPERATORS_FILE: file,
      DUOVEIL_ALARM_RULES: '1:3/5',
    },
    logLevel: 'debug',
  });
  base = await addressOf();
});
afterAll(async () => {
  await deployment.close();
  await rm(scratch, { recursive: true, force: true });
});

async function addressOf(): Promise<string> {
  await deployment.logged(/"message":"http listening"/);
  const line = deployment.log.find((one) => one.includes('"message":"http listening"')) ?? '{}';
  return `${(JSON.parse(line) as { url: string }).url}/api/v1`;
}

/** Somebody who is signed in. */
class Operator {
  readonly #cookie: string;
  readonly #csrfToken: string;

  private constructor(cookie: string, csrfToken: string) {
    this.#cookie = cookie;
    this.#csrfToken = csrfToken;
  }

  static async signIn(token: string): Promise<Operator> {
    const response = await fetch(`${base}/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token }),
    });
    const { csrfToken } = (await response.json()) as { csrfToken: string };
    return new Operator(response.headers.get('set-cookie')?.split(';')[0] ?? '', csrfToken);
  }

  fetch(path: string, method = 'GET', body?: object): Promise<Response> {
    return fetch(base + path, {
      method,
      headers: {
        ...{ cookie: this.#cookie, 'x-csrf-token': this.#csrfToken },
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
  }

  async get<T>(path: string): Promise<T> {
    const response = await this.fetch(path);
    expect(response.status, path).toBe(200);
    return (await response.json()) as T;
  }
}

interface Change {
  readonly summary: { readonly patient: string; readonly recent: readonly number[][] };
  readonly changed: readonly { readonly id: string; readonly clearedAt?: string }[];
}

/** The changes of a stream, as they come, until it ends. */
async function* changesIn(response: Response): AsyncGenerator<Change, void> {
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk as Uint8Array).toString('utf8');
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (data !== undefined) yield JSON.parse(data) as Change;
    }
  }
}

/** Enrols the patient, and streams the recording. */
async function streamRecording(): Promise<void> {
  const { servers, directory } = deployment;
  const tls = await servers.issueGateway(PATIENT);
  const input = join(directory, 'recording.csv');
  await writeFile(input, recording());
  const common = ['--sp', servers.address, '--tls', tls, '--state', join(directory, 'gateway')];
  const environment = { DUOVEIL_GATEWAY_PASSPHRASE: 'of the gateway' };
  const enrolled = await duoveil(
    [
      ...['gateway', 'enrol', ...common, '--parameters-digest', servers.digest],
      ...['--insecure-key-bits', '--channels', 'HR,RESP', '--window', String(WINDOW)],
    ],
    { environment },
  );
  expect(enrolled, enrolled.log.join('\n')).toMatchObject({ code: 0 });
  const streamed = await duoveil(['gateway', 'stream', ...common, '--input', input], {
    environment,
  });
  expect(streamed, streamed.log.join('\n')).toMatchObject({ code: 0 });
}

test('an alarm rises live, and is acknowledged by who may', async () => {
  const [vera, olga] = [
    await Operator.signIn(tokens.viewer),
    await Operator.signIn(tokens.operator),
  ];
  const stream = await vera.fetch('/events');
  expect(stream.status).toBe(200);
  const streaming = streamRecording();
  let alarm: string | undefined;
  let last = 0;
  for await (const { summary, changed } of changesIn(stream)) {
    expect(summary.patient).toBe(PATIENT);
    last = Math.max(last, summary.recent.at(-1)?.[0] ?? 0);
    alarm ??= changed[0]?.id;
    if (last === ROWS) break;
  }
  await streaming;
  expect(alarm).toBe(`${PATIENT}:1`);

  const { patients } = await vera.get<{ patients: { patient: string }[] }>('/patients');
  expect(patients).toMatchObject([
    { patient: PATIENT, state: 'monitoring', alarms: [{ id: alarm }] },
  ]);
  const { points } = await vera.get<{ points: number[][] }>(`/patients/${PATIENT}/timeline`);
  expect(points.map(([sequence]) => sequence)).toEqual(
    Array.from({ length: ROWS }, (_, i) => i + 1),
  );
  expect(points.slice(0, WINDOW).map(([, , level]) => level)).toEqual(Array(WINDOW).fill(-1));
  expect(points.slice(2 * WINDOW).every(([, , level]) => (level ?? 0) >= 1)).toBe(true);
  expect(await vera.get(`/patients/${PATIENT}`)).toMatchObject({
    ...{ channels: ['HR', 'RESP'], window: WINDOW },
    baselines: [{ model: 1, reason: 'first' }],
  });

  const ids = { ids: [alarm] };
  expect((await vera.fetch('/alarms/acknowledge', 'POST', ids)).status).toBe(403);
  expect((await olga.fetch('/alarms/acknowledge', 'POST', ids)).status).toBe(200);
  const until = new Date(Date.now() + 600_000).toISOString();
  const quiet = { until, reason: 'physiotherapy' };
  const suppression = await olga.fetch(`/patients/${PATIENT}/suppression`, 'PUT', quiet);
  expect(await suppression.json()).toMatchObject({ by: 'olga', ...quiet });
  expect((await olga.fetch(`/patients/${PATIENT}/suppression`, 'DELETE')).status).toBe(204);
  expect((await olga.fetch(`/patients/${PATIENT}/relearn`, 'POST')).status).toBe(204);
  const { alarms } = await vera.get<{ alarms: unknown[] }>('/alarms?acknowledged=true');
  expect(alarms).toMatchObject([{ id: alarm, acknowledged: { by: 'olga' } }]);

  expect((await olga.fetch('/log-level', 'PUT', { level: 'info' })).status).toBe(403);
  expect((await vera.fetch('/session', 'DELETE')).status).toBe(204);
  expect((await vera.fetch('/patients')).status).toBe(401);
});

/** Every key of what was sent, wherever it stands. */
function keysOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const inner = Object.values(value).flatMap(keysOf);
  return Array.isArray(value) ? inner : [...Object.keys(value), ...inner];
}

/** Names, times, and who did what; the only numbers are sequences, levels, counts and durations. */
const KEYS = new Set([
  ...['patients', 'patient', 'recent', 'lastSeen', 'state', 'highestLevel', 'alarms', 'pending'],
  ...['id', 'kind', 'rule', 'level', 'count', 'of', 'sequence', 'raisedAt', 'clearedAt', 'since'],
  ...['from', 'to', 'acknowledged', 'by', 'at', 'escalatedAt', 'suppressed', 'suppression'],
  ...['until', 'reason', 'channels', 'window', 'baseline', 'enrolledAt', 'baselines', 'history'],
  ...['model', 'throughSequence', 'trainedAt', 'trainMs', 'points'],
]);

test('what operators see has no vital sign, and the log no token', async () => {
  const olga = await Operator.signIn(tokens.operator);
  for (const path of ['/patients', `/patients/${PATIENT}`, '/alarms']) {
    const answer = await olga.get(path);
    expect(keysOf(answer).length).toBeGreaterThan(10);
    expect(keysOf(answer).filter((key) => !KEYS.has(key))).toEqual([]);
  }
  const { points } = await olga.get<{ points: number[][] }>(`/patients/${PATIENT}/timeline`);
  const levels = points.map(([, , level]) => level ?? NaN);
  expect(levels.every((level) => Number.isInteger(level) && level >= -2 && level <= 3)).toBe(true);
  const log = deployment.log.join('\n');
  expect(log).toContain('"operator":"olga"');
  for (const token of Object.values(tokens)) expect(log).not.toContain(token);
});

test('the dashboard is served beside it, and asks for nothing from elsewhere', async () => {
  const site = base.replace('/api/v1', '');
  const page = await fetch(site);
  expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'self';/);
  const html = await page.text();
  expect(html).toContain('<title>duoveil</title>');
  expect(html).not.toMatch(/<script>|<style|https?:\/\/| on\w+=/);
  const links = [...html.matchAll(/(?:src|href)="\.(\/[^"]+)"/g)].map(([, path = '']) => path);
  expect(links.length).toBeGreaterThan(2);
  for (const path of links) expect((await fetch(site + path)).status, path).toBe(200);
});

test('/system follows both servers', async () => {
  const olga = await Operator.signIn(tokens.operator);
  const system = await olga.get<{ sp: { decisionMs: object } }>('/system');
  expect(system).toMatchObject({
    sp: { ready: true, patients: 1, pending: 0, version: '0.1.0', httpCertificateExpiresAt: null },
    csp: { reachable: true, state: 'ready', keyGenerations: [1], keyGenerationInUse: 1 },
  });
  expect(Object.values(system.sp.decisionMs).every((ms) => typeof ms === 'number')).toBe(true);
  await deployment.servers.csp.stop();
  // What was just asked is believed for a second.
  await expect
    .poll(() => olga.get('/system'), { timeout: 20_000, interval: 200 })
    .toMatchObject({ sp: { ready: true }, csp: { reachable: false, state: 'unreachable' } });
});

test('streams end with the service provider, which does not wait for them', async () => {
  const olga = await Operator.signIn(tokens.operator);
  const stream = await olga.fetch('/events');
  const ended = stream.text();
  await deployment.servers.sp.stop();
  expect(await ended).toContain('retry: 1000');
  await expect(olga.fetch('/patients')).rejects.toThrow();
});
