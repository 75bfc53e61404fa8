import { expect, test } from 'vitest';

import { ApiError, isSignedOut } from './api-error.js';
import { httpApi } from './client.js';

interface Sent {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly body: unknown;
}

/** An API whose server gives these answers in turn; what it was sent. */
function answering(...answers: (Response | Error)[]) {
  const sent: Sent[] = [];
  let signedOut = 0;
  const api = httpApi({
    onSignedOut: () => (signedOut += 1),
    fetch: (input, init) => {
      const { method = '', headers, body } = init ?? {};
      sent.push({ method, url: input as string, headers: new Headers(headers), body });
      const answer = answers.shift() ?? new Error('no answer is left');
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
  });
  return { api, sent, signedOut: () => signedOut };
}

const session = { name: 'a', role: 'operator', csrfToken: 'c5rf', expiresAt: '' };

test('what changes something carries the token of the session, what reads does not', async () => {
  const { api, sent } = answering(
    Response.json(session),
    new Response(null, { status: 204 }),
    Response.json({ patients: [] }),
  );
  await api.session();
  await api.relearn('ward/1');
  await api.patients();
  expect(sent.map(({ method, url }) => `${method} ${url}`)).toEqual([
    'GET api/v1/session',
    'POST api/v1/patients/ward%2F1/relearn',
    'GET api/v1/patients',
  ]);
  expect(sent.map(({ headers }) => headers.get('x-csrf-token'))).toEqual([null, 'c5rf', null]);
});

test('a filter is a query of what it restricts', async () => {
  const { api, sent } = answering(Response.json({ alarms: [] }));
  await api.alarms({ active: undefined, acknowledged: false, kind: 'gap' }, 50);
  expect(sent[0]?.url).toBe('api/v1/alarms?acknowledged=false&kind=gap&limit=50');
});

test('a session that has ended is told of once; none is missed before there is one', async () => {
  const refused = (): Response => Response.json({}, { status: 401 });
  const { api, signedOut } = answering(refused(), Response.json(session), refused(), refused());
  await expect(api.session()).rejects.toThrow();
  expect(signedOut()).toBe(0);
  await api.session();
  await expect(api.patients()).rejects.toThrow();
  await expect(api.system()).rejects.toThrow();
  expect(signedOut()).toBe(1);
});

test('many alarms are acknowledged in pieces that a body has room for', async () => {
  const { api, sent } = answering(...[1, 2, 3].map(() => Response.json({ alarms: [] })));
  await api.acknowledge(Array.from({ length: 201 }, (_, i) => `a:${i}`));
  const pieces = sent.map(({ body }) => JSON.parse(body as string) as { ids: string[] });
  expect(pieces.map(({ ids }) => ids.length)).toEqual([100, 100, 1]);
});

test('a problem document says what is wrong', async () => {
  const problem = { title: 't', status: 403, code: 'PERMISSION_DENIED', detail: 'a viewer' };
  const { api } = answering(Response.json(problem, { status: 403 }));
  const error = await api.unsuppress('p').catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ status: 403, code: 'PERMISSION_DENIED', message: 'a viewer' });
  expect(isSignedOut(error)).toBe(false);
});

test('an answer that is no problem document is an error all the same', async () => {
  const { api } = answering(
    new Response('<html>', { status: 502, headers: { 'content-type': 'text/html' } }),
    new Response('{', { status: 401, headers: { 'content-type': 'application/json' } }),
  );
  await expect(api.patients()).rejects.toThrow('status 502');
  const error = await api.patients().catch((reason: unknown) => reason);
  expect(isSignedOut(error)).toBe(true);
});

test('no answer is an error with status 0', async () => {
  const { api } = answering(new TypeError('Failed to fetch'));
  await expect(api.patients()).rejects.toMatchObject({ status: 0, code: 'UNREACHABLE' });
});
