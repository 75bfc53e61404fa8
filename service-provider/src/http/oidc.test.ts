/** Sign-in at a real, small identity provider, and at some that lie. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { text } from 'node:stream/consumers';

import { systemRandom } from '@duoveil/common/random';
import { systemClock } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { HTTP_STORE_KEY, signedIn, TestApps, type TestApp } from './fixture.js';
import { Oidc, TRANSACTION_MS, type OidcOptions } from './oidc.js';
import type { OperatorRole } from './roles.js';
import { SealedText } from './sealed-text.js';

const CLIENT = { id: 'duoveil', secret: 'a secret of the tests' };
const REDIRECT = 'https://duoveil.test/api/v1/oidc/callback';

/** How an ID token is made; what is not given is right. */
interface Lie {
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly key?: 'another' | 'none';
  readonly status?: number;
}

/** An identity provider with one user, who is always signed in. */
class Issuer {
  readonly #server: Server;
  readonly #keys = new Map<string, Awaited<ReturnType<typeof generateKeyPair>>>();
  readonly #codes = new Map<string, { nonce: string; challenge: string }>();
  url = '';
  lie: Lie = {};
  claims: Readonly<Record<string, unknown>> = {};

  constructor() {
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(({ status = 200, body }) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(body));
      });
    });
  }

  async start(): Promise<void> {
    for (const name of ['own', 'another']) {
      this.#keys.set(name, await generateKeyPair('RS256', { extractable: true }));
    }
    await new Promise<void>((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    const { port } = this.#server.address() as { port: number };
    this.url = `http://127.0.0.1:${String(port)}`;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** What a browser is sent back with. */
  authorize(url: URL): URLSearchParams {
    const { searchParams: asked } = url;
    expect(url.origin + url.pathname).toBe(`${this.url}/authorize`);
    expect(asked.get('client_id')).toBe(CLIENT.id);
    expect(asked.get('redirect_uri')).toBe(REDIRECT);
    expect(asked.get('response_type')).toBe('code');
    expect(asked.get('code_challenge_method')).toBe('S256');
    const code = `code-${String(this.#codes.size)}`;
    const nonce = asked.get('nonce') ?? '';
    this.#codes.set(code, { nonce, challenge: asked.get('code_challenge') ?? '' });
    return new URLSearchParams({ code, state: asked.get('state') ?? '', iss: this.url });
  }

  async #answer(request: IncomingMessage): Promise<{ status?: number; body: unknown }> {
    const { status } = this.lie;
    if (status !== undefined) return { status, body: {} };
    switch (request.url) {
      case '/.well-known/openid-configuration':
        return { body: this.#metadata() };
      case '/jwks':
        return { body: await this.#jwks() };
      case '/token':
        return this.#token(request);
      default:
        return { status: 404, body: {} };
    }
  }

  #metadata(): object {
    return {
      issuer: this.url,
      authorization_endpoint: `${this.url}/authorize`,
      token_endpoint: `${this.url}/token`,
      jwks_uri: `${this.url}/jwks`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
    };
  }

  async #jwks(): Promise<object> {
    const own = this.#keys.get('own');
    if (own === undefined) throw new Error('not started');
    return { keys: [{ ...(await exportJWK(own.publicKey)), kid: 'k', use: 'sig', alg: 'RS256' }] };
  }

  async #token(request: IncomingMessage): Promise<{ status?: number; body: unknown }> {
    const form = new URLSearchParams(await text(request));
    const given = `Basic ${Buffer.from(`${CLIENT.id}:${encodeURIComponent(CLIENT.secret).replaceAll('%20', '+')}`).toString('base64')}`;
    const code = this.#codes.get(form.get('code') ?? '');
    this.#codes.delete(form.get('code') ?? '');
    const verifier = new TextEncoder().encode(form.get('code_verifier') ?? '');
    const digest = Buffer.from(await crypto.subtle.digest('SHA-256', verifier));
    const isRight =
      request.headers.authorization === given &&
      form.get('redirect_uri') === REDIRECT &&
      digest.toString('base64url') === code?.challenge;
    if (!isRight) return { status: 400, body: { error: 'invalid_grant' } };
    const id_token = await this.#idToken(code.nonce);
    return { body: { access_token: 'an-access-token', token_type: 'Bearer', id_token } };
  }

  #idToken(nonce: string): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      ...{ iss: this.url, aud: CLIENT.id, sub: '1', nonce, iat: now, exp: now + 300 },
      ...{ preferred_username: 'alice', roles: ['duoveil-operator', 'other'] },
      ...this.claims,
      ...this.lie.claims,
    };
    if (this.lie.key === 'none') return Promise.resolve(new UnsecuredJWT(claims).encode());
    const key = this.#keys.get(this.lie.key ?? 'own');
    if (key === undefined) throw new Error('not started');
    return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'k' }).sign(key.privateKey);
  }
}

const issuer = new Issuer();
beforeAll(() => issuer.start());
afterAll(() => {
  issuer.stop();
});

const apps = new TestApps();
afterEach(async () => {
  issuer.lie = {};
  issuer.claims = {};
  await apps.close();
});

const ROLES = new Map<string, OperatorRole>([
  ['duoveil-viewer', 'viewer'],
  ['duoveil-operator', 'operator'],
]);

function start(changes: Partial<OidcOptions> = {}): Promise<TestApp> {
  const oidc = new Oidc({
    ...{ issuer: new URL(issuer.url), clientId: CLIENT.id, redirectUri: REDIRECT },
    ...{ clientSecret: new Secret(CLIENT.secret), nameClaim: 'preferred_username' },
    ...{ roleClaim: 'roles', roles: ROLES, clock: systemClock, random: systemRandom },
    sealed: new SealedText(HTTP_STORE_KEY, 'oidc', systemRandom),
    ...changes,
  });
  return apps.start({ oidc, secure: true });
}

/** There and back, with what a browser brings. */
async function visit(
  { app }: TestApp,
  how: { readonly query?: (query: URLSearchParams) => void; readonly cookie?: string | null } = {},
) {
  const begun = await app.inject({ url: '/api/v1/oidc/start' });
  expect(begun.statusCode).toBe(303);
  const [cookie] = begun.cookies;
  expect(cookie).toMatchObject({
    ...{ name: '__Host-duoveil-oidc', httpOnly: true, secure: true, sameSite: 'Lax', maxAge: 600 },
  });
  const query = issuer.authorize(new URL(String(begun.headers.location)));
  how.query?.(query);
  const value = how.cookie === undefined ? (cookie?.value ?? '') : how.cookie;
  return app.inject({
    url: `/api/v1/oidc/callback?${query.toString()}`,
    cookies: value === null ? {} : { '__Host-duoveil-oidc': value },
  });
}

test('who the identity provider vouches for is signed in, with a role by its claims', async () => {
  const it = await start();
  expect((await it.app.inject({ url: '/api/v1/sign-in' })).json()).toEqual({
    ...{ token: true, oidc: { name: new URL(issuer.url).host } },
  });
  const back = await visit(it);
  expect(back.body).toBe('');
  expect(back.statusCode).toBe(303);
  expect(back.headers.location).toBe('/');
  const session = await it.app.inject({
    url: '/api/v1/session',
    cookies: signedInCookies(back.cookies),
  });
  expect(session.json()).toMatchObject({ name: 'alice', role: 'operator' });
  expect(signedIn(session).csrfToken).toMatch(/^[0-9a-f]{32}$/);
});

function signedInCookies(cookies: readonly { name: string; value: string }[]) {
  return Object.fromEntries(cookies.map(({ name, value }) => [name, value]));
}

test('the highest of several roles counts, and claims may be within others', async () => {
  issuer.claims = { realm_access: { roles: ['duoveil-viewer', 'duoveil-operator'] }, roles: [] };
  const it = await start({ roleClaim: 'realm_access.roles' });
  const back = await visit(it);
  const cookies = signedInCookies(back.cookies);
  const session = await it.app.inject({ url: '/api/v1/session', cookies });
  expect(session.json()).toMatchObject({ role: 'operator' });
});

const later = Math.floor(Date.now() / 1000);

describe('an ID token is refused', () => {
  test.each<[what: string, lie: Lie]>([
    ['of another sign-in (nonce)', { claims: { nonce: 'of-another' } }],
    ['without a nonce', { claims: { nonce: undefined } }],
    ['for another client (audience)', { claims: { aud: 'somebody-else' } }],
    [
      'for several clients of which we are not the party',
      { claims: { aud: [CLIENT.id, 'x'], azp: 'x' } },
    ],
    ['that has expired', { claims: { exp: later - 3600, iat: later - 7200 } }],
    ['that never expires', { claims: { exp: undefined } }],
    ['that is not valid yet', { claims: { nbf: later + 3600 } }],
    ['of another issuer', { claims: { iss: 'https://evil.example' } }],
    ["with another issuer's signature", { key: 'another' }],
    ['without a signature (alg none)', { key: 'none' }],
  ])('%s', async (_what, lie) => {
    const it = await start();
    issuer.lie = lie;
    const back = await visit(it);
    expect(back.statusCode).toBe(401);
    expect(back.json()).toMatchObject({ code: 'SIGN_IN_FAILED' });
    expect(back.cookies.map(({ name }) => name)).not.toContain('__Host-duoveil');
    // The same issuer without the lie is believed: it was that.
    issuer.lie = {};
    expect((await visit(it)).statusCode).toBe(303);
  });
});

describe('an answer is refused', () => {
  const refused = async (how: Parameters<typeof visit>[1], code = 'SIGN_IN_FAILED') => {
    const back = await visit(await start(), how);
    expect(back.json()).toMatchObject({ code });
    expect(back.cookies.map(({ name }) => name)).not.toContain('__Host-duoveil');
  };

  test("with another one's state", () =>
    refused({
      query: (query) => {
        query.set('state', 'of-another');
      },
    }));

  test('without a code, with an error in its place', () =>
    refused({
      query: (query) => {
        query.delete('code');
        query.set('error', 'access_denied');
      },
    }));

  test("with another one's code", () =>
    refused({
      query: (query) => {
        query.set('code', 'stolen');
      },
    }));

  test('of another issuer', () =>
    refused({
      query: (query) => {
        query.set('iss', 'https://evil.example');
      },
    }));

  test('in a browser that did not begin', () => refused({ cookie: null }));

  test('with a cookie that was not written here', () => refused({ cookie: 'A'.repeat(200) }));
});

test('a sign-in that took too long is refused', async () => {
  let now = new Date();
  const clock = { now: () => now, monotonicMs: () => 0 };
  const it = await start({ clock });
  const begun = await it.app.inject({ url: '/api/v1/oidc/start' });
  const query = issuer.authorize(new URL(String(begun.headers.location)));
  now = new Date(now.getTime() + TRANSACTION_MS + 1);
  const cookies = signedInCookies(begun.cookies);
  const back = await it.app.inject({ url: `/api/v1/oidc/callback?${query.toString()}`, cookies });
  expect(back.json()).toMatchObject({ code: 'SIGN_IN_FAILED' });
});

test('somebody without a role here, or with no name for an operator, is refused', async () => {
  const it = await start();
  issuer.claims = { roles: ['something-else', 7, { 'duoveil-operator': true }] };
  expect((await visit(it)).json()).toMatchObject({ status: 403, code: 'PERMISSION_DENIED' });
  issuer.claims = { roles: { 'duoveil-operator': true } };
  expect((await visit(it)).json()).toMatchObject({ code: 'PERMISSION_DENIED' });
  for (const preferred_username of [undefined, '', 'x'.repeat(65), 'a\nb', 7]) {
    issuer.claims = { preferred_username };
    expect((await visit(it)).json()).toMatchObject({ status: 401, code: 'SIGN_IN_FAILED' });
  }
});

test('an identity provider that fails is named, and asked again the next time', async () => {
  const it = await start();
  issuer.lie = { status: 503 };
  const failed = await it.app.inject({ url: '/api/v1/oidc/start' });
  expect(failed.json()).toMatchObject({ status: 503, code: 'PEER_UNAVAILABLE' });
  issuer.lie = {};
  expect((await visit(it)).statusCode).toBe(303);
  const nowhere = await start({ issuer: new URL('http://127.0.0.1:1') });
  const none = await nowhere.app.inject({ url: '/api/v1/oidc/start' });
  expect(none.json()).toMatchObject({ status: 503, code: 'PEER_UNAVAILABLE' });
});

test('a browser is shown the sign-in page with what went wrong', async () => {
  const { app } = await start();
  const back = await app.inject({
    url: '/api/v1/oidc/callback?error=access_denied',
    headers: { accept: 'text/html,application/xhtml+xml' },
  });
  expect(back.statusCode).toBe(303);
  expect(back.headers.location).toBe('/?problem=SIGN_IN_FAILED#/sign-in');
});
