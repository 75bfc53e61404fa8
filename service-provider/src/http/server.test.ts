/** The server as it listens: TLS that is replaced, operators who come and go, files, and its end. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';

import { systemRandom } from '@duoveil/common/random';
import {
  createAuthority,
  defaultTrustDomain,
  issueCertificate,
  silentLogger,
  systemClock,
  type Authority,
} from '@duoveil/common/runtime';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { FakeFleet } from './fake-fleet.js';
import { FAKE_SYSTEM, HTTP_STORE_KEY, TOKENS } from './fixture.js';
import { openHttpFiles, startHttp, type HttpFiles, type HttpServer } from './server.js';
import type { HttpOptions } from './settings.js';

let directory: string;
let authority: Authority;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-test-'));
  authority = await createAuthority({ commonName: 'web', days: 30, now: new Date() });
  await writeOperators('viewer');
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function writeOperators(role: string): Promise<void> {
  const hash = createHash('sha256').update(TOKENS.viewer).digest('hex');
  const text = `operators:\n  - { name: alice, role: ${role}, tokenSha256: ${hash} }\n`;
  await writeFile(join(directory, 'operators.yaml'), text);
}

/** A new certificate for the host. */
async function writeTls(): Promise<void> {
  const issued = await issueCertificate(authority, {
    identity: { trustDomain: defaultTrustDomain, role: 'sp' },
    ...{ hosts: ['127.0.0.1'], days: 1, now: new Date() },
  });
  await mkdir(join(directory, 'tls'), { recursive: true });
  await writeFile(join(directory, 'tls', 'tls.crt'), issued.certificate);
  await writeFile(join(directory, 'tls', 'tls.key'), issued.key.reveal());
}

const servers: HttpServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.drain(1000);
});

interface Started {
  readonly server: HttpServer;
  readonly files: HttpFiles;
  readonly fleet: FakeFleet;
}

async function start(changes: Partial<HttpOptions> = {}, dashboard?: string): Promise<Started> {
  const settings: HttpOptions = {
    ...{ listen: { host: '127.0.0.1', port: 0 }, tlsDirectory: undefined, behindProxy: false },
    ...{ publicUrl: undefined, oidc: undefined, reloadMs: 0 },
    operatorsFile: join(directory, 'operators.yaml'),
    ...changes,
  };
  const logger = silentLogger();
  const files = await openHttpFiles(settings, logger);
  const fleet = new FakeFleet();
  const server = await startHttp({
    ...{ settings, files, fleet, logger, clock: systemClock, random: systemRandom, dashboard },
    ...{ storeKey: HTTP_STORE_KEY, system: { report: () => Promise.resolve(FAKE_SYSTEM) } },
  });
  servers.push(server);
  return { server, files, fleet };
}

interface Answer {
  readonly status: number | undefined;
  readonly cookie: string | undefined;
  readonly serial: string;
  readonly protocol: string | null;
}

/** Over a connection of its own. */
function overTls(url: string, options: { method?: string; body?: string; cookie?: string } = {}) {
  return new Promise<Answer>((resolve, reject) => {
    const { method = 'GET', body, cookie } = options;
    const headers = {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(cookie !== undefined && { cookie }),
    };
    const request = httpsRequest(url, { method, headers, ca: authority.certificate, agent: false });
    request.on('response', (response) => {
      const socket = response.socket as unknown as Pick<
        TLSSocket,
        'getPeerCertificate' | 'getProtocol'
      >;
      const serial = socket.getPeerCertificate().serialNumber;
      const [set] = response.headers['set-cookie'] ?? [];
      const protocol = socket.getProtocol();
      response.resume();
      response.on('end', () => {
        resolve({ status: response.statusCode, cookie: set?.split(';')[0], serial, protocol });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

describe('TLS', () => {
  test('is 1.3, and follows its files, unless they cannot be used', async () => {
    await writeTls();
    const { server, files } = await start({ tlsDirectory: join(directory, 'tls') });
    expect(server.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    const url = `${server.url}/api/v1/sign-in`;
    const before = await overTls(url);
    expect(before).toMatchObject({ status: 200, protocol: 'TLSv1.3' });
    await writeTls();
    await files.tls?.reload();
    const after = await overTls(url);
    expect(after.status).toBe(200);
    expect(after.serial).not.toBe(before.serial);
    await writeFile(join(directory, 'tls', 'tls.key'), 'no key at all');
    await files.tls?.reload();
    expect((await overTls(url)).serial).toBe(after.serial);
  });

  test('gives cookies that are for it only', async () => {
    await writeTls();
    const { server } = await start({ tlsDirectory: join(directory, 'tls') });
    const body = JSON.stringify({ token: TOKENS.viewer });
    const { cookie } = await overTls(`${server.url}/api/v1/session`, { method: 'POST', body });
    expect(cookie).toMatch(/^__Host-duoveil=/);
    const session = await overTls(`${server.url}/api/v1/session`, { cookie: cookie ?? '' });
    expect(session.status).toBe(200);
  });

  test('files that cannot be used keep it from starting', async () => {
    await writeTls();
    await writeFile(join(directory, 'tls', 'tls.crt'), 'nothing');
    const tlsDirectory = join(directory, 'tls');
    await expect(start({ tlsDirectory })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(start({ tlsDirectory: directory })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});

test("the operators' file is followed", async () => {
  const { server, files } = await start();
  const body = JSON.stringify({ token: TOKENS.viewer });
  const headers = { 'content-type': 'application/json' };
  const signIn = () => fetch(`${server.url}/api/v1/session`, { method: 'POST', headers, body });
  expect(await (await signIn()).json()).toMatchObject({ name: 'alice', role: 'viewer' });
  await writeOperators('admin');
  await files.operators?.reload();
  expect(await (await signIn()).json()).toMatchObject({ role: 'admin' });
  await writeOperators('king');
  await files.operators?.reload();
  expect(await (await signIn()).json()).toMatchObject({ role: 'admin' });
  await writeOperators('viewer');
});

test('a port that is taken is said so', async () => {
  const { server } = await start();
  const port = Number(new URL(server.url).port);
  await expect(start({ listen: { host: '127.0.0.1', port } })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('the port is in use') as string,
  });
});

describe("the dashboard's files", () => {
  let site: string;
  beforeAll(async () => {
    site = join(directory, 'site');
    await mkdir(join(site, 'assets'), { recursive: true });
    await writeFile(join(site, 'index.html'), '<!doctype html><title>duoveil</title>');
    await writeFile(join(site, 'assets', 'app-1a2b.js'), 'export {};');
    await writeFile(join(directory, 'secret.txt'), 'not for anyone');
  });

  test('are served to anyone, those with a hash for good', async () => {
    const { server } = await start({}, site);
    for (const path of ['/', '/index.html']) {
      const page = await fetch(server.url + path);
      expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
      expect(page.headers.get('cache-control')).toBe('no-cache');
      expect(page.headers.get('content-security-policy')).toContain("default-src 'self'");
      expect(await page.text()).toContain('<title>duoveil</title>');
    }
    const script = await fetch(`${server.url}/assets/app-1a2b.js`);
    expect(script.headers.get('content-type')).toContain('javascript');
    expect(script.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect((await fetch(`${server.url}/api/v1/patients`)).status).toBe(401);
  });

  test('and no other file', async () => {
    const { server } = await start({}, site);
    for (const path of ['/../secret.txt', '/%2e%2e/secret.txt', '/..%2fsecret.txt', '/assets/']) {
      const refused = await fetch(server.url + path);
      expect(refused.status, path).toBe(404);
      expect(await refused.json()).toMatchObject({ code: 'ROUTE_UNKNOWN' });
    }
  });
});

describe('the end', () => {
  const slowly = async (): Promise<
    Started & { readonly answer: Promise<Response>; readonly finish: () => void }
  > => {
    const started = await start();
    let finish: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => {
      started.fleet.patients = () => {
        resolve();
        return new Promise((answer) => {
          finish = () => {
            answer([]);
          };
        });
      };
    });
    const body = JSON.stringify({ token: TOKENS.viewer });
    const headers = { 'content-type': 'application/json' };
    const url = `${started.server.url}/api/v1`;
    const session = await fetch(`${url}/session`, { method: 'POST', headers, body });
    const cookie = session.headers.get('set-cookie')?.split(';')[0] ?? '';
    const answer = fetch(`${url}/patients`, { headers: { cookie } });
    await reached;
    return {
      ...{ ...started, answer },
      finish: () => {
        finish();
      },
    };
  };

  test('lets a request finish', async () => {
    const { server, answer, finish } = await slowly();
    const drained = server.drain(60_000);
    finish();
    expect((await answer).status).toBe(200);
    await drained;
  });

  test('but for so long only', async () => {
    const { server, answer } = await slowly();
    const failed = expect(answer).rejects.toThrow();
    await server.drain(0);
    await failed;
  });
});

test('the end: streams end, and nobody waits for connections that are open', async () => {
  const { server } = await start();
  const body = JSON.stringify({ token: TOKENS.viewer });
  const headers = { 'content-type': 'application/json' };
  const session = await fetch(`${server.url}/api/v1/session`, { method: 'POST', headers, body });
  const cookie = session.headers.get('set-cookie')?.split(';')[0] ?? '';
  const stream = await fetch(`${server.url}/api/v1/events`, { headers: { cookie } });
  await server.drain(60_000);
  expect(await stream.text()).toBe('retry: 1000\n\n');
  await expect(fetch(`${server.url}/api/v1/sign-in`)).rejects.toThrow();
});
