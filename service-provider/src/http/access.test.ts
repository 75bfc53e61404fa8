/** Every route, and everybody who may or may not call it. */
import type { InjectOptions } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';

import type { Access } from './access.js';
import { Routes, type Route } from './route-list.js';
import { call, signInAs, testApp, TOKENS, type SignedIn, type TestApp } from './fixture.js';
import { problemSchema } from './problem.js';
import { operatorRoles, type OperatorRole } from './roles.js';
import { systemSchema } from './system.js';
import {
  alarmSchema,
  detailSchema,
  sessionSchema,
  summarySchema,
  suppressionSchema,
} from './wire.js';

const until = '2026-01-31T20:00:00Z';

interface Row {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** As the route is registered, below `/api/v1`. */
  readonly route: string;
  readonly access: Access;
  /** What is asked for, in place of the route's own path. */
  readonly url?: string;
  readonly payload?: object;
  readonly status: number;
  /** The answer's form. */
  readonly answer?: z.ZodType;
  /** What is not accepted, and why. */
  readonly bad: readonly (Partial<InjectOptions> & { readonly code?: string })[];
}

const alarms = z.strictObject({ alarms: z.array(alarmSchema) });
const badIds = ['/patients/..%2f', '/patients/a b', `/patients/${'x'.repeat(65)}`];

const table: readonly Row[] = [
  {
    ...{ method: 'GET', route: '/sign-in', access: 'anyone', status: 200 },
    ...{ answer: z.strictObject({ token: z.literal(true), oidc: z.null() }), bad: [] },
  },
  {
    ...{ method: 'POST', route: '/session', access: 'anyone', payload: { token: TOKENS.viewer } },
    ...{ status: 200, answer: sessionSchema },
    bad: [
      { payload: { token: 'dvo_somebody-elses' }, code: 'SIGN_IN_FAILED' },
      { payload: { token: 7 } },
      { payload: { token: '' } },
      { payload: { token: 'x'.repeat(257) } },
      { payload: { token: TOKENS.viewer, role: 'admin' } },
      { payload: [] },
    ],
  },
  {
    ...{ method: 'GET', route: '/session', access: 'viewer', status: 200 },
    ...{ answer: sessionSchema, bad: [] },
  },
  {
    ...{ method: 'GET', route: '/patients', access: 'viewer', status: 200 },
    ...{ answer: z.strictObject({ patients: z.array(summarySchema) }), bad: [] },
  },
  {
    ...{ method: 'GET', route: '/patients/:id', url: '/patients/patient-1', access: 'viewer' },
    ...{ status: 200, answer: detailSchema },
    bad: [
      { url: '/patients/patient-9', code: 'PATIENT_NOT_ENROLLED' },
      ...badIds.map((url) => ({ url })),
    ],
  },
  {
    ...{ method: 'GET', route: '/patients/:id/timeline', access: 'viewer', status: 200 },
    url: '/patients/patient-1/timeline?from=80&limit=5',
    answer: z.strictObject({ points: z.array(z.tuple([z.int(), z.int(), z.int()])).length(5) }),
    bad: [
      { url: '/patients/patient-9/timeline', code: 'PATIENT_NOT_ENROLLED' },
      ...[
        'from=0',
        'from=x',
        'from=',
        'from=1.5',
        'limit=5001',
        'limit=-1',
        'since=1',
        'from=1e99',
      ].map((query) => ({ url: `/patients/patient-1/timeline?${query}` })),
    ],
  },
  {
    ...{ method: 'POST', route: '/patients/:id/relearn', access: 'operator', status: 204 },
    url: '/patients/patient-1/relearn',
    bad: [
      { url: '/patients/patient-9/relearn', code: 'PATIENT_NOT_ENROLLED' },
      { url: '/patients/a%00b/relearn' },
    ],
  },
  {
    ...{ method: 'PUT', route: '/patients/:id/suppression', access: 'operator', status: 200 },
    ...{ url: '/patients/patient-1/suppression', payload: { until, reason: 'bathing' } },
    answer: suppressionSchema,
    bad: [
      { url: '/patients/patient-9/suppression', code: 'PATIENT_NOT_ENROLLED' },
      { payload: { until: 'tomorrow', reason: 'x' } },
      { payload: { until, reason: '' } },
      { payload: { until, reason: 'x'.repeat(201) } },
      { payload: { until } },
      { payload: { until, reason: 'x', by: 'somebody else' } },
    ],
  },
  {
    ...{ method: 'DELETE', route: '/patients/:id/suppression', access: 'operator', status: 204 },
    url: '/patients/patient-1/suppression',
    bad: [{ url: '/patients/patient-9/suppression', code: 'PATIENT_NOT_ENROLLED' }],
  },
  {
    ...{ method: 'GET', route: '/alarms', access: 'viewer', status: 200, answer: alarms },
    url: '/alarms?active=true&acknowledged=false&kind=level&patient=patient-1&limit=10',
    bad: ['active=yes', 'kind=vital', 'patient=a%20b', 'limit=1001', 'limit=0', 'level=1'].map(
      (query) => ({ url: `/alarms?${query}` }),
    ),
  },
  {
    ...{ method: 'POST', route: '/alarms/acknowledge', access: 'operator', status: 200 },
    ...{ payload: { ids: ['patient-1:1'] }, answer: alarms },
    bad: [
      { payload: { ids: ['patient-1:9'] }, code: 'ALARM_UNKNOWN' },
      { payload: { ids: [] } },
      { payload: { ids: ['1'] } },
      { payload: { ids: Array.from({ length: 201 }, () => 'patient-1:1') } },
      { payload: { ids: 'patient-1:1' } },
    ],
  },
  {
    ...{ method: 'GET', route: '/system', access: 'viewer', status: 200 },
    ...{ answer: systemSchema, bad: [] },
  },
  {
    ...{ method: 'PUT', route: '/log-level', access: 'admin', payload: { level: 'info' } },
    ...{ status: 200, answer: z.strictObject({ previous: z.string() }) },
    bad: [{ payload: { level: 'loud' } }, { payload: {} }],
  },
  {
    ...{ method: 'GET', route: '/openapi.json', access: 'anyone', status: 200 },
    ...{ answer: z.object({ openapi: z.literal('3.1.0') }), bad: [] },
  },
  // Last: it ends the session.
  { method: 'DELETE', route: '/session', access: 'viewer', status: 204, bad: [] },
];

let it: TestApp;
const sessions: Partial<Record<OperatorRole, SignedIn>> = {};
beforeAll(async () => {
  it = await testApp();
  for (const role of operatorRoles) sessions[role] = await signInAs(it.app, role);
});
afterAll(() => it.close());

/** What a row asks for, or how it is changed. */
function request(row: Row, change: Partial<InjectOptions> = {}): InjectOptions {
  const { method, url = row.route, payload } = row;
  const { url: path = url, ...others } = change;
  return {
    ...{ method, ...(payload && { payload }), ...others },
    url: `/api/v1${typeof path === 'string' ? path : ''}`,
  };
}

/** Sends it, and requires a well-formed problem. */
async function problem(session: SignedIn | undefined, options: InjectOptions) {
  const response = await call(it.app, session, options);
  expect(response.headers['content-type']).toBe('application/problem+json; charset=utf-8');
  expect(response.headers['cache-control']).toBe('no-store');
  const found = z.strictObject(problemSchema.shape).parse(response.json());
  expect(found.status).toBe(response.statusCode);
  expect(found.requestId).toBe(response.headers['x-request-id']);
  return found;
}

test('the table has every route of the API', () => {
  // The stream of events has no end to wait for: events.test.ts has it.
  const known = [...table.map(({ method, route }) => `${method} ${route}`), 'GET /events'];
  const paths = it.app.swagger().paths ?? {};
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods as object).map(
      (method) =>
        `${method.toUpperCase()} ${path.replace('/api/v1', '').replace(/\{(\w+)\}/g, ':$1')}`,
    ),
  );
  expect([...routes, 'GET /openapi.json'].sort()).toEqual(known.sort());
});

describe.each(table)('$method $route', (row) => {
  const allowed = operatorRoles.filter(
    (role) =>
      row.access === 'anyone' || operatorRoles.indexOf(role) >= operatorRoles.indexOf(row.access),
  );
  const able = allowed[0] ?? 'admin';

  test('is refused to whoever is not signed in', async () => {
    if (row.access === 'anyone') {
      expect((await call(it.app, undefined, request(row))).statusCode).toBe(row.status);
      return;
    }
    const forged = { cookies: { duoveil: 'A'.repeat(200) }, csrfToken: '' };
    for (const session of [undefined, forged]) {
      const { code, status } = await problem(session, request(row));
      expect({ code, status }).toEqual({ code: 'UNAUTHENTICATED', status: 401 });
    }
  });

  test.each(operatorRoles.filter((role) => !allowed.includes(role)))(
    'is refused to the role %s, and nothing happens',
    async (role) => {
      const before = [...it.fleet.acts];
      const { code, status } = await problem(sessions[role], request(row));
      expect({ code, status }).toEqual({ code: 'PERMISSION_DENIED', status: 403 });
      expect(it.fleet.acts).toEqual(before);
    },
  );

  test.runIf(row.method !== 'GET' && row.access !== 'anyone')(
    "is refused without the session's CSRF token, and nothing happens",
    async () => {
      const session = sessions[able];
      const other = sessions[able === 'admin' ? 'operator' : 'admin'];
      const before = [...it.fleet.acts];
      for (const csrfToken of ['', 'x', other?.csrfToken ?? '']) {
        const forged = { cookies: session?.cookies ?? {}, csrfToken };
        const { code, status } = await problem(forged, request(row));
        expect({ code, status }).toEqual({ code: 'CSRF_TOKEN_INVALID', status: 403 });
      }
      const headers = { 'sec-fetch-site': 'cross-site' };
      expect(await problem(session, request(row, { headers }))).toMatchObject({
        code: 'CSRF_TOKEN_INVALID',
      });
      expect(it.fleet.acts).toEqual(before);
    },
  );

  test.runIf(row.bad.length > 0)('refuses what is not right, and says what', async () => {
    for (const { code = 'MESSAGE_INVALID', ...change } of row.bad) {
      const found = await problem(sessions[able], request(row, change));
      expect(found.code, JSON.stringify(change)).toBe(code);
      expect(found.detail.length).toBeGreaterThan(10);
      if (code === 'MESSAGE_INVALID') expect(found.field).toBeDefined();
    }
  });

  test.each(row.route === '/session' && row.method === 'DELETE' ? [able] : allowed)(
    'serves the role %s',
    async (role) => {
      const response = await call(it.app, sessions[role], request(row));
      expect(response.statusCode, response.body).toBe(row.status);
      expect(response.headers['cache-control']).toBe('no-store');
      if (row.answer === undefined) expect(response.body).toBe('');
      else expect(() => row.answer?.parse(response.json())).not.toThrow();
    },
  );
});

test('whoever did something is named', () => {
  expect(it.fleet.acts).toContain('relearn patient-1 by a-operator');
  expect(it.fleet.acts).toContain('acknowledge patient-1:1 by a-admin');
});

describe('the table catches', () => {
  const outcome = async (session: SignedIn | undefined, payload: object): Promise<number> =>
    (
      await call(broken.app, session, {
        method: 'POST',
        url: '/api/v1/alarms/acknowledge',
        payload,
      })
    ).statusCode;
  let broken: TestApp;
  afterAll(() => broken.close());

  test('a gate that believes any session', async () => {
    broken = await testApp();
    const anybody = broken.environment.sessions.begin({ name: 'mallory', role: 'admin' });
    broken.environment.sessions.open = () => anybody;
    const forged = { cookies: { duoveil: 'anything' }, csrfToken: anybody.csrfToken };
    expect(await outcome(forged, { ids: ['patient-1:1'] })).toBe(200);
  });
});

test('a route that does not say who may call it keeps the server from starting', async () => {
  const hooks: Record<string, (argument: unknown) => void> = {};
  const app = {
    addHook: (name: string, hook: (argument: unknown) => void) => {
      hooks[name] = hook;
    },
  };
  const routes = new Routes(app as never);
  hooks['onRoute']?.({ method: 'GET', url: '/open', config: {} });
  const failed = await new Promise((resolve) => hooks['onReady']?.(resolve));
  expect(String(failed)).toContain('/open does not say who may call it');
  expect(routes.all.map(({ path }: Route) => path)).toEqual(['/open']);
});
