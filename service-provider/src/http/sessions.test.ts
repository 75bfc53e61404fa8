import { systemRandom } from '@duoveil/common/random';
import { Secret } from '@duoveil/common/secret';
import { afterEach, describe, expect, test } from 'vitest';

import {
  call,
  HTTP_STORE_KEY,
  signInAs,
  StandingClock,
  TestApps,
  testOperators,
  TOKENS,
  type SignedIn,
  type TestApp,
} from './fixture.js';
import { parseOperators, TokenOperators } from './operators.js';
import { SealedText } from './sealed-text.js';
import { IDLE_MS, SESSION_MS, Sessions } from './sessions.js';

const apps = new TestApps();
const { start } = apps;
afterEach(() => apps.close());

const status = async ({ app }: TestApp, session: SignedIn, url = '/api/v1/session') =>
  (await call(app, session, { url })).statusCode;

describe('the cookie', () => {
  test('is for this host, its own pages and no script', async () => {
    const { app } = await start({ secure: true });
    const { headers } = await app.inject({
      ...{ method: 'POST', url: '/api/v1/session', payload: { token: TOKENS.viewer } },
    });
    const cookie = String(headers['set-cookie']);
    expect(cookie).toMatch(/^__Host-duoveil=[\w-]+; Path=\/; HttpOnly; Secure; SameSite=Strict$/);
  });

  test('says nothing of who it is', async () => {
    const { app } = await start();
    const { cookies, csrfToken } = await signInAs(app, 'admin');
    const bytes = Buffer.from(cookies['duoveil'] ?? '', 'base64url').toString('latin1');
    for (const told of ['admin', csrfToken, 'role']) expect(bytes).not.toContain(told);
  });

  test('opens as it was written only, and with this store key only', async () => {
    const one = await start();
    const { cookies, csrfToken } = await signInAs(one.app, 'viewer');
    const cookie = cookies['duoveil'] ?? '';
    expect(await status(one, { cookies, csrfToken })).toBe(200);
    for (let i = 0; i < cookie.length; i += 7) {
      const other = cookie[i] === 'A' ? 'B' : 'A';
      const changed = cookie.slice(0, i) + other + cookie.slice(i + 1);
      expect(await status(one, { cookies: { duoveil: changed }, csrfToken })).toBe(401);
    }
    for (const cut of [
      '',
      cookie.slice(0, 20),
      cookie.slice(1),
      `${cookie}AAAA`,
      'x'.repeat(5000),
    ]) {
      expect(await status(one, { cookies: { duoveil: cut }, csrfToken })).toBe(401);
    }
    const key = new Secret(new Uint8Array(32).fill(10));
    const elsewhere = new SealedText(key, 'session', systemRandom);
    const session = one.environment.sessions.open(cookie);
    const foreign = { cookies: { duoveil: elsewhere.close(session) }, csrfToken };
    expect(await status(one, foreign)).toBe(401);
    // Nor does what was sealed for another purpose.
    const oidc = new SealedText(HTTP_STORE_KEY, 'oidc', systemRandom);
    expect(await status(one, { cookies: { duoveil: oidc.close(session) }, csrfToken })).toBe(401);
  });

  test('of one replica opens at another', async () => {
    const [one, other] = [await start(), await start()];
    expect(await status(other, await signInAs(one.app, 'operator'))).toBe(200);
  });
});

describe('a session ends', () => {
  test('after half an hour without a call, and goes on with one', async () => {
    const it = await start();
    let session = await signInAs(it.app, 'viewer');
    for (let i = 0; i < 3; i += 1) {
      it.clock.advance(IDLE_MS - 1);
      const response = await call(it.app, session, { url: '/api/v1/patients' });
      expect(response.statusCode).toBe(200);
      const [cookie] = response.cookies;
      session = { ...session, cookies: { duoveil: cookie?.value ?? '' } };
    }
    it.clock.advance(IDLE_MS);
    expect(await status(it, session)).toBe(401);
  });

  test('after eight hours, whatever is done', async () => {
    const it = await start();
    let session = await signInAs(it.app, 'viewer');
    for (let passed = 0; passed < SESSION_MS; passed += IDLE_MS / 2) {
      const response = await call(it.app, session, { url: '/api/v1/patients' });
      expect(response.statusCode).toBe(200);
      const [cookie] = response.cookies;
      if (cookie) session = { ...session, cookies: { duoveil: cookie.value } };
      it.clock.advance(IDLE_MS / 2);
    }
    expect(await status(it, session)).toBe(401);
  });

  test('with a sign-out, also for a copy of its cookie', async () => {
    const it = await start();
    const session = await signInAs(it.app, 'viewer');
    const other = await signInAs(it.app, 'viewer');
    const out = await call(it.app, session, { method: 'DELETE', url: '/api/v1/session' });
    expect(String(out.headers['set-cookie'])).toMatch(/^duoveil=; .*Expires=Thu, 01 Jan 1970/);
    expect(await status(it, session)).toBe(401);
    expect(await status(it, other)).toBe(200);
  });

  test("when the operators' file has its token no more, and changes role with it", async () => {
    let operators: TokenOperators = testOperators();
    const it = await start({ operators: () => operators });
    const session = await signInAs(it.app, 'viewer');
    const relearn = { method: 'POST', url: '/api/v1/patients/patient-1/relearn' } as const;
    expect((await call(it.app, session, relearn)).statusCode).toBe(403);
    const viewer = operators.ofToken(TOKENS.viewer);
    if (viewer === undefined) throw new Error('there is no viewer');
    operators = new TokenOperators([{ ...viewer, role: 'operator' }]);
    expect((await call(it.app, session, relearn)).statusCode).toBe(204);
    operators = new TokenOperators([]);
    expect(await status(it, session)).toBe(401);
  });

  test('and one that does not would be seen', () => {
    const clock = new StandingClock();
    const sealed = new SealedText(HTTP_STORE_KEY, 'session', systemRandom);
    const options = { sealed, operators: () => undefined, clock, random: systemRandom };
    class Endless extends Sessions {
      override endOf(): number {
        return Infinity;
      }
    }
    const over = (sessions: Sessions): boolean => {
      const cookie = sessions.seal(sessions.begin({ name: 'alice', role: 'viewer' }));
      clock.advance(IDLE_MS);
      return sessions.open(cookie) === undefined;
    };
    expect(over(new Sessions(options))).toBe(true);
    expect(over(new Endless(options))).toBe(false);
  });
});

describe("the operators' file", () => {
  const hash = 'ab'.repeat(32);

  test('is read', () => {
    const text = `operators:\n  - { name: alice, role: admin, tokenSha256: ${hash} }\n`;
    expect(parseOperators(text, 'file').ofHash(hash)).toMatchObject({
      name: 'alice',
      role: 'admin',
    });
    expect(parseOperators('operators: []', 'file').ofHash(hash)).toBeUndefined();
  });

  test.each([
    ['{', 'not YAML'],
    ['', 'content'],
    ['operators: alice', 'operators'],
    [`operators: [{ name: alice, role: king, tokenSha256: ${hash} }]`, 'operators.0.role'],
    [`operators: [{ name: "a b", role: viewer, tokenSha256: ${hash} }]`, 'operators.0.name'],
    ['operators: [{ name: alice, role: viewer, tokenSha256: short }]', 'operators.0.tokenSha256'],
    ['operators: [{ name: alice, role: viewer, token: plain }]', 'operators.0'],
    [
      `operators: [{ name: a, role: viewer, tokenSha256: ${hash} }, { name: b, role: viewer, tokenSha256: ${hash} }]`,
      'operators.1.tokenSha256: is there twice',
    ],
  ])('%s is refused, with the place', (text, where) => {
    expect(() => parseOperators(text, 'operators.yaml')).toThrow(where);
  });
});
