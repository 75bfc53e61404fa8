/** The operators' HTTP API over made-up patients, for tests of the pages: quick, and does as it is told. */
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { FleetChange, Role, SystemState } from '../src/api/types.js';
import type { FakeFleet } from './fake-fleet.js';

const SITE = fileURLToPath(new URL('../dist/site/', import.meta.url));

/** What the service provider's policy allows the page; nothing inline, nothing from elsewhere. */
const POLICY = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

/** The tokens that sign in, each with its role's name. */
export const TOKENS: Readonly<Record<string, Role>> = {
  'viewer-token': 'viewer',
  'operator-token': 'operator',
  'admin-token': 'admin',
};

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly role: Role;
  readonly url: URL;
  readonly body: Readonly<Record<string, unknown>>;
}

/** See the file's comment. */
export class FakeServer {
  readonly #fleet: FakeFleet;
  readonly #streams = new Set<ServerResponse>();
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  /** What is signed in, by the cookie's value. */
  readonly #sessions = new Map<string, Role>();
  /** Whether every call is refused, as by a server that is starting. */
  refusing = false;
  system: SystemState = SYSTEM;

  private constructor(fleet: FakeFleet) {
    this.#fleet = fleet;
    fleet.onChange = (change) => {
      this.#send(change);
    };
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        problem(response, 500, 'INTERNAL', String(error));
      });
    });
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  /** Listen on a free port of this machine, or on one that is given. */
  static async start(fleet: FakeFleet, port = 0): Promise<FakeServer> {
    const server = new FakeServer(fleet);
    await new Promise<void>((resolve) => server.#server.listen(port, '127.0.0.1', resolve));
    return server;
  }

  /** The page's address. */
  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** Cut all connections, as a failing network or a dying server does. */
  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nobody is signed in any more, whatever their cookies say. */
  endSessions(): void {
    this.#sessions.clear();
  }

  async stop(): Promise<void> {
    this.dropConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #send(change: FleetChange): void {
    const text = `event: change\ndata: ${JSON.stringify(change)}\n\n`;
    for (const stream of this.#streams) stream.write(text);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.address);
    response.setHeader('content-security-policy', POLICY);
    if (this.refusing) {
      problem(response, 503, 'NOT_READY', 'the service provider is starting');
      return;
    }
    if (!url.pathname.startsWith('/api/v1/')) {
      await file(response, url.pathname);
      return;
    }
    const body = JSON.parse((await text(request)) || '{}') as Record<string, unknown>;
    this.#answer(request, response, url, body);
  }

  #answer(
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    body: Record<string, unknown>,
  ): void {
    const path = url.pathname.slice('/api/v1'.length);
    const route = `${request.method ?? ''} ${path}`;
    if (route === 'GET /sign-in') {
      json(response, { token: true, oidc: { name: 'Example Hospital' } });
    } else if (route === 'POST /session') {
      this.#signIn(response, String(body['token']));
    } else {
      const key = /session=(\w+)/.exec(request.headers.cookie ?? '')?.[1] ?? '';
      const role = this.#sessions.get(key);
      if (role === undefined) {
        problem(response, 401, 'UNAUTHENTICATED', 'nobody is signed in');
        return;
      }
      const changes = request.method !== 'GET';
      if (changes && request.headers['x-csrf-token'] !== CSRF) {
        problem(
          response,
          403,
          'CSRF_TOKEN_INVALID',
          'the header x-csrf-token is not the session’s',
        );
      } else if (route === 'DELETE /session') {
        this.#sessions.delete(key);
        response.writeHead(204).end();
      } else if (changes && role === 'viewer') {
        problem(response, 403, 'PERMISSION_DENIED', 'a viewer may not do this');
      } else {
        this.#call(route, { request, response, role, url, body });
      }
    }
  }

  #signIn(response: ServerResponse, token: string): void {
    const role = TOKENS[token];
    if (role === undefined) {
      problem(response, 401, 'SIGN_IN_FAILED', 'the token is not known');
      return;
    }
    const key = `s${this.#sessions.size}${role}`;
    this.#sessions.set(key, role);
    response.setHeader('set-cookie', `session=${key}; HttpOnly; SameSite=Strict; Path=/`);
    json(response, sessionOf(role));
  }

  #call(route: string, call: Call): void {
    const { response, role, url, body } = call;
    const [, encoded = '', rest = ''] = /^\w+ \/patients\/([^/]+)\/?(.*)$/.exec(route) ?? [];
    if (encoded !== '') {
      this.#patientCall(call, decodeURIComponent(encoded), rest);
    } else if (route === 'GET /session') {
      json(response, sessionOf(role));
    } else if (route === 'GET /patients') {
      json(response, { patients: this.#fleet.summaries() });
    } else if (route === 'GET /alarms') {
      json(response, { alarms: this.#alarms(url.searchParams) });
    } else if (route === 'POST /alarms/acknowledge') {
      const acknowledged = { by: role, at: new Date().toISOString() };
      const ids = body['ids'] as string[];
      json(response, { alarms: ids.map((id) => this.#fleet.change(id, { acknowledged })) });
    } else if (route === 'GET /system') {
      json(response, this.system);
    } else if (route === 'GET /events') {
      this.#stream(response);
    } else {
      problem(response, 404, 'ROUTE_UNKNOWN', `there is no ${route}`);
    }
  }

  #patientCall({ request, response, role, url, body }: Call, patient: string, rest: string): void {
    const detail = this.#fleet.detail(patient);
    const route = `${request.method ?? ''} ${rest}`;
    if (detail === undefined) {
      problem(response, 404, 'PATIENT_NOT_ENROLLED', `${patient} is not enrolled`);
    } else if (route === 'GET ') {
      json(response, detail);
    } else if (route === 'GET timeline') {
      const [from, limit] = ['from', 'limit'].map((name) => Number(url.searchParams.get(name)));
      json(response, { points: this.#fleet.timeline(patient, from ?? 1, limit ?? 5_000) });
    } else {
      const at = new Date().toISOString();
      const { until, reason } = body as { until: string; reason: string };
      if (route === 'POST relearn') this.#fleet.relearn(patient);
      if (route === 'PUT suppression') {
        this.#fleet.suppress(patient, { by: role, at, until, reason });
      }
      if (route === 'DELETE suppression') this.#fleet.suppress(patient, undefined);
      response.writeHead(204).end();
    }
  }

  #alarms(query: URLSearchParams) {
    const active = query.get('active');
    const acknowledged = query.get('acknowledged');
    const kind = query.get('kind');
    return this.#fleet
      .alarms()
      .filter((alarm) => active === null || active === String(alarm.clearedAt === undefined))
      .filter(
        (alarm) =>
          acknowledged === null || acknowledged === String(alarm.acknowledged !== undefined),
      )
      .filter((alarm) => kind === null || kind === alarm.kind)
      .slice(0, Number(query.get('limit')));
  }

  #stream(response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write(': begin\n\n');
    this.#streams.add(response);
    response.on('close', () => this.#streams.delete(response));
  }
}

const CSRF = 'csrf-token-of-the-session';

function sessionOf(role: Role) {
  const expiresAt = new Date(Date.now() + 8 * 3_600_000).toISOString();
  return { name: `${role}.name`, role, csrfToken: CSRF, expiresAt };
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function problem(response: ServerResponse, status: number, code: string, detail: string): void {
  response
    .writeHead(status, { 'content-type': 'application/problem+json' })
    .end(JSON.stringify({ type: 'about:blank', title: code, status, code, detail }));
}

async function file(response: ServerResponse, path: string): Promise<void> {
  const name = path === '/' ? 'index.html' : path.slice(1);
  try {
    const content = await readFile(join(SITE, name));
    response.writeHead(200, { 'content-type': TYPES[extname(name)] ?? 'text/plain' }).end(content);
  } catch {
    problem(response, 404, 'ROUTE_UNKNOWN', `there is no ${path}`);
  }
}

async function text(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

const SYSTEM: SystemState = {
  sp: {
    ready: true,
    version: '0.1.0',
    uptimeSeconds: 93_784,
    patients: 12,
    decisionsPerSecond: 11.9,
    decisionMs: { p50: 24.1, p95: 41.7, p99: 66.2 },
    scoreMs: { p50: 19.8, p95: 33.0, p99: 51.4 },
    pending: 1,
    lagMs: 12,
    listeners: 2,
    certificateExpiresAt: new Date(Date.now() + 61 * 86_400_000).toISOString(),
    httpCertificateExpiresAt: null,
  },
  csp: {
    reachable: true,
    state: 'ready',
    problem: null,
    roundTripMs: 1.4,
    certificateExpiresAt: new Date(Date.now() + 9 * 86_400_000).toISOString(),
    keyGenerations: [1, 2],
    keyGenerationInUse: 2,
  },
};
