/** What holds for every request: what is refused before a route is met, headers, limits, the log. */
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';

import { createLogger, metrics } from '@duoveil/common/runtime';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { call, signInAs, TestApps, TOKENS, type TestAppOptions } from './fixture.js';

const apps = new TestApps();
const { start } = apps;
afterEach(() => apps.close());

describe('what meets no route is refused with a stable code', () => {
  test.each([
    ['GET', '/api/v1/nothing', 404, 'ROUTE_UNKNOWN'],
    ['GET', '/api/v1', 404, 'ROUTE_UNKNOWN'],
    ['GET', '/', 404, 'ROUTE_UNKNOWN'],
    ['GET', '/../../etc/passwd', 404, 'ROUTE_UNKNOWN'],
    ['POST', '/api/v1/patients', 405, 'METHOD_NOT_ALLOWED'],
    ['PATCH', '/api/v1/patients/patient-1/suppression', 405, 'METHOD_NOT_ALLOWED'],
    ['HEAD', '/api/v1/patients', 405, 'METHOD_NOT_ALLOWED'],
    ['GET', '/api/v1/patients/%zz', 400, 'MESSAGE_INVALID'],
    ['GET', `/api/v1/patients/${'x'.repeat(3000)}`, 0, ''],
  ] as const)('%s %s', async (method, url, status, code) => {
    const { app } = await start();
    const response = await call(app, undefined, { method, url });
    expect(response.headers['content-type']).toBe('application/problem+json; charset=utf-8');
    if (status === 0) expect(response.statusCode).toBeGreaterThanOrEqual(400);
    else expect(response.statusCode).toBe(status);
    if (method !== 'HEAD' && code !== '') expect(response.json()).toMatchObject({ code, status });
    if (status === 405) expect(response.headers.allow).toMatch(/GET|PUT,DELETE/);
  });
});

describe('a body is refused', () => {
  const post = async (headers: Record<string, string>, payload: string) => {
    const { app } = await start();
    const response = await app.inject({ method: 'POST', url: '/api/v1/session', headers, payload });
    return { status: response.statusCode, code: response.json<{ code: string }>().code };
  };
  const json = { 'content-type': 'application/json' };

  test('of another type', async () => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'text/xml',
      'nonsense',
    ]) {
      const refused = await post({ 'content-type': type }, 'token=x');
      expect(refused).toEqual({ status: 415, code: 'CONTENT_TYPE_INVALID' });
    }
  });

  test('that is not JSON', async () => {
    for (const payload of ['{', '', '{"token":', '\u0000', '{"__proto__":{"x":1}}']) {
      expect(await post(json, payload)).toEqual({ status: 400, code: 'MESSAGE_INVALID' });
    }
  });

  test('that is too long', async () => {
    const refused = await post(json, JSON.stringify({ token: 'x'.repeat(20_000) }));
    expect(refused).toEqual({ status: 413, code: 'MESSAGE_TOO_LARGE' });
  });
});

test('what is no HTTP is answered with a problem', async () => {
  const { app } = await start();
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as { port: number };
  const socket = connect(port, '127.0.0.1');
  socket.end('NOT HTTP AT ALL\r\n\r\n');
  const answer = await text(socket);
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(answer).toContain('content-type: application/problem+json');
  expect(JSON.parse(answer.split('\r\n\r\n')[1] ?? '')).toMatchObject({ code: 'MESSAGE_INVALID' });
});

describe('limits', () => {
  test('requests of one address', async () => {
    const { app } = await start({ limits: { requestsPerMinute: 3 } });
    const ask = (url: string, remoteAddress = '192.0.2.1') => app.inject({ url, remoteAddress });
    for (let i = 0; i < 3; i += 1) expect((await ask('/api/v1/patients')).statusCode).toBe(401);
    for (const url of ['/api/v1/patients', '/api/v1/sign-in']) {
      const refused = await ask(url);
      expect(refused.statusCode).toBe(429);
      expect(refused.json()).toMatchObject({ code: 'OVERLOADED', status: 429 });
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
      expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(60);
    }
    expect((await ask('/api/v1/sign-in', '192.0.2.2')).statusCode).toBe(200);
  });

  test('unknown paths count too', async () => {
    const { app } = await start({ limits: { requestsPerMinute: 2 } });
    const statuses = [];
    for (let i = 0; i < 3; i += 1)
      statuses.push((await app.inject({ url: '/nowhere' })).statusCode);
    expect(statuses).toEqual([404, 404, 429]);
  });

  test('attempts to sign in', async () => {
    const { app } = await start({ limits: { signInsPerMinute: 2 } });
    const attempt = (token: string) =>
      app.inject({ method: 'POST', url: '/api/v1/session', payload: { token } });
    expect((await attempt('dvo_wrong')).statusCode).toBe(401);
    expect((await attempt('dvo_wrong')).statusCode).toBe(401);
    // The right one has to wait as well.
    expect((await attempt(TOKENS.admin)).statusCode).toBe(429);
    expect((await app.inject({ url: '/api/v1/sign-in' })).statusCode).toBe(200);
  });

  test('what a caller says of its own address counts behind a proxy only', async () => {
    const statuses = async (options: TestAppOptions): Promise<number[]> => {
      const { app } = await start({ ...options, limits: { requestsPerMinute: 1 } });
      const found = [];
      for (const forwarded of ['198.51.100.1', '198.51.100.2']) {
        const headers = { 'x-forwarded-for': `203.0.113.9, ${forwarded}` };
        found.push((await app.inject({ url: '/api/v1/sign-in', headers })).statusCode);
      }
      return found;
    };
    expect(await statuses({})).toEqual([200, 429]);
    expect(await statuses({ behindProxy: true })).toEqual([200, 200]);
  });

  test('the time of an answer', async () => {
    // Signing in takes its time, too: that is done at another replica.
    const session = await signInAs((await start()).app, 'viewer');
    const { app, fleet } = await start({ limits: { answerMs: 20 } });
    fleet.patients = () => new Promise(() => undefined);
    const response = await call(app, session, { url: '/api/v1/patients' });
    expect(response.statusCode).toBe(504);
    expect(response.json()).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });
});

describe('headers', () => {
  test('let nothing in from outside, and nothing inline', async () => {
    const { app } = await start({ secure: true });
    for (const url of ['/api/v1/sign-in', '/nowhere', '/api/v1/patients']) {
      const { headers } = await app.inject({ url });
      expect(headers['content-security-policy']).toBe(
        "default-src 'self';base-uri 'none';form-action 'self';frame-ancestors 'none';object-src 'none'",
      );
      expect(headers['strict-transport-security']).toContain('max-age=31536000');
      expect(headers['x-content-type-options']).toBe('nosniff');
      expect(headers['referrer-policy']).toBe('no-referrer');
      expect(headers['x-frame-options']).toBe('DENY');
      expect(headers['cache-control']).toBe('no-store');
      expect(headers['access-control-allow-origin']).toBeUndefined();
    }
  });

  test('do not promise TLS where there is none', async () => {
    const { app } = await start();
    const { headers } = await app.inject({ url: '/api/v1/sign-in' });
    expect(headers['strict-transport-security']).toBeUndefined();
  });
});

test('what failed here is told as an internal error, and logged', async () => {
  const lines: string[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(chunk.toString());
      done();
    },
  });
  const { app, fleet } = await start({ logger: createLogger({ service: 'sp', stream }) });
  fleet.patients = () => Promise.reject(new Error('the reason that nobody outside is told'));
  const session = await signInAs(app, 'viewer');
  const response = await call(app, session, { url: '/api/v1/patients' });
  expect(response.json()).toMatchObject({ status: 500, code: 'INTERNAL' });
  expect(response.body).not.toContain('reason that nobody');
  const { requestId } = response.json<{ requestId: string }>();
  expect(lines.filter((line) => line.includes(requestId)).join()).toContain('reason that nobody');
});

test('the log and the metrics have routes, never what paths, queries, bodies and cookies hold', async () => {
  const lines: string[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(chunk.toString());
      done();
    },
  });
  const recorded: unknown[] = [];
  vi.spyOn(metrics.httpCalls, 'record').mockImplementation((value, labels) => {
    recorded.push(labels, value);
  });
  try {
    const logger = createLogger({ service: 'sp', level: 'debug', stream });
    const { app } = await start({ logger });
    const session = await signInAs(app, 'operator');
    const urls = ['/api/v1/patients/patient-1', '/api/v1/alarms?patient=patient-1', '/x?secret=1'];
    for (const url of urls) await call(app, session, { url });
    await app.inject({
      method: 'POST',
      url: '/api/v1/session',
      payload: { token: 'dvo_mistyped' },
    });
    await call(app, session, { method: 'POST', url: '/api/v1/patients/patient-1/relearn' });
    const all = lines.join('') + JSON.stringify(recorded);
    expect(all).toContain('/api/v1/patients/:id/relearn');
    const [cookie = ''] = Object.values(session.cookies);
    for (const secret of [TOKENS.operator, 'dvo_', cookie, session.csrfToken, 'secret=1']) {
      expect(secret.length).toBeGreaterThan(3);
      expect(all).not.toContain(secret);
    }
    expect(JSON.stringify(recorded)).not.toMatch(/patient-1|a-operator/);
    const changes = lines.filter((line) => line.includes('"level":"info"'));
    expect(changes.join()).toContain('"operator":"a-operator"');
  } finally {
    vi.restoreAllMocks();
  }
});

test('a request that stops half way is given up', async () => {
  const { app } = await start();
  expect(app.server.requestTimeout).toBe(10_000);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as { port: number };
  app.server.closeAllConnections();
  const request = httpRequest({ port, host: '127.0.0.1', path: '/api/v1/sign-in' });
  const status = await new Promise((resolve, reject) => {
    request.on('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
    request.end();
  });
  expect(status).toBe(200);
});
