/** Anything at all, sent to every route: an answer that the API describes, and never a failure of ours. */
import fc from 'fast-check';
import type { InjectOptions } from 'fastify';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { call, signInAs, testApp, type SignedIn, type TestApp } from './fixture.js';
import { problemSchema } from './problem.js';

let it: TestApp;
let admin: SignedIn;
beforeAll(async () => {
  it = await testApp();
  admin = await signInAs(it.app, 'admin');
});
afterAll(() => it.close());

const RUNS = process.env['DUOVEIL_LONG_TESTS'] === '1' ? 20_000 : 600;

const word = fc.oneof(
  fc.constantFrom('patients', 'alarms', 'patient-1', 'suppression', 'relearn', 'timeline'),
  fc.constantFrom('acknowledge', 'session', 'sign-in', 'system', 'log-level', 'openapi.json'),
  fc.constantFrom('oidc', 'start', 'callback', '..', '.', '', '%00', '%2f', '__proto__', '*'),
  fc.string({ maxLength: 20 }).map(encodeURIComponent),
);
const value = fc.oneof(
  fc.constantFrom('true', '1', '-1', '0', 'level', 'patient-1', 'constructor', '9e999', '[]'),
  fc.string({ maxLength: 40 }),
);
const name = fc.constantFrom('from', 'limit', 'active', 'kind', 'patient', 'acknowledged', 'x');
const query = fc
  .array(fc.tuple(name, value), { maxLength: 4 })
  .map((pairs) => pairs.map(([key, text]) => `${key}=${encodeURIComponent(text)}`).join('&'));
const field = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown>(['patient-1:1'], '2026-01-31T20:00:00Z', 'debug', { toString: 1 }),
);
const body = fc.oneof(
  fc
    .record(
      { ids: field, level: field, until: field, reason: field, token: field },
      { requiredKeys: [] },
    )
    .map((one) => JSON.stringify(one)),
  fc.json({ maxDepth: 3 }),
  fc.string({ maxLength: 60 }),
);
const request = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH' as const),
  path: fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join('/')),
  query,
  body: fc.option(body),
  type: fc.constantFrom('application/json', 'application/json; charset=utf-8', 'text/plain', ''),
  signedIn: fc.boolean(),
});

test('is answered as the API describes', async () => {
  const statuses = new Set<number>();
  await fc.assert(
    fc.asyncProperty(request, async ({ method, path, query, body, type, signedIn }) => {
      // Signing out is a success that would end the rest.
      fc.pre(!(method === 'DELETE' && path.startsWith('session')) && !path.startsWith('events'));
      const options: InjectOptions = {
        method,
        url: `/api/v1/${path}?${query}`,
        ...(body !== null && { payload: body, headers: { 'content-type': type } }),
      };
      const response = await call(it.app, signedIn ? admin : undefined, options);
      statuses.add(response.statusCode);
      expect(response.statusCode).not.toBe(500);
      if (response.statusCode < 400) return;
      expect(response.headers['content-type']).toContain('application/problem+json');
      if (method !== 'HEAD') problemSchema.parse(response.json());
    }),
    { numRuns: RUNS },
  );
  // It met success, and refusals of every kind.
  expect([...statuses].sort()).toEqual(expect.arrayContaining([200, 400, 401, 404, 405, 415]));
});
