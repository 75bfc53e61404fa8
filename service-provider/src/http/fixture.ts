/** For tests of the HTTP API: an app over a fake fleet, and somebody who calls it. Not exported. */
import { createHash } from 'node:crypto';

import { systemRandom } from '@duoveil/common/random';
import { silentLogger, type Clock, type Logger } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import type { InjectOptions, LightMyRequestResponse } from 'fastify';

import { createApp, type AppOptions, type HttpApp } from './app.js';
import { defaultLimits, type HttpEnvironment, type HttpLimits } from './environment.js';
import { Events } from './events.js';
import { FAKE_NOW, FakeFleet } from './fake-fleet.js';
import type { IdentityProvider } from './oidc.js';
import { TokenOperators } from './operators.js';
import type { OperatorRole } from './roles.js';
import { SealedText } from './sealed-text.js';
import { Sessions } from './sessions.js';
import type { SystemReport } from './system.js';

/** A token for each role, for all to see. */
export const TOKENS: Readonly<Record<OperatorRole, string>> = {
  viewer: 'dvo_a-viewers-token-of-the-tests',
  operator: 'dvo_an-operators-token-of-the-tests',
  admin: 'dvo_an-admins-token-of-the-tests',
};

/** The key of a store, for all to see. */
export const HTTP_STORE_KEY = new Secret(new Uint8Array(32).fill(9));

/** The operators of {@link TOKENS}, named `a-viewer` and so on. */
export function testOperators(): TokenOperators {
  return new TokenOperators(
    (Object.keys(TOKENS) as OperatorRole[]).map((role) => ({
      name: `a-${role}`,
      role,
      tokenSha256: createHash('sha256').update(TOKENS[role]).digest('hex'),
    })),
  );
}

/** A clock that stands until it is moved. */
export class StandingClock implements Clock {
  #ms = 0;

  now(): Date {
    return new Date(FAKE_NOW.getTime() + this.#ms);
  }

  monotonicMs(): number {
    return this.#ms;
  }

  advance(ms: number): void {
    this.#ms += ms;
  }
}

/** A report in which everything is well. */
export const FAKE_SYSTEM: SystemReport = {
  sp: {
    ...{ ready: true, version: '0.1.0', uptimeSeconds: 60, patients: 2, pending: 0, lagMs: 0 },
    ...{ decisionsPerSecond: 2, decisionMs: { p50: 9, p95: 12, p99: 20 } },
    ...{ scoreMs: { p50: null, p95: null, p99: null }, listeners: 0 },
    ...{ certificateExpiresAt: FAKE_NOW.toISOString(), httpCertificateExpiresAt: null },
  },
  csp: {
    ...{ reachable: true, state: 'ready', problem: null, roundTripMs: 1.5 },
    ...{ certificateExpiresAt: FAKE_NOW.toISOString() },
    ...{ keyGenerations: [1], keyGenerationInUse: 1 },
  },
};

/** What a test may have otherwise. */
export interface TestAppOptions extends AppOptions {
  readonly fleet?: FakeFleet;
  readonly limits?: Partial<HttpLimits>;
  readonly logger?: Logger;
  readonly oidc?: IdentityProvider;
  readonly secure?: boolean;
  readonly operators?: () => TokenOperators | undefined;
  readonly events?: { readonly maxListeners?: number; readonly maxListenersOfOne?: number };
}

/** The app, and what it works with. */
export interface TestApp {
  readonly app: HttpApp;
  readonly fleet: FakeFleet;
  readonly clock: StandingClock;
  readonly events: Events;
  readonly environment: HttpEnvironment;
  close(): Promise<void>;
}

/** Plenty, so that only tests of the limits meet them. */
const PLENTY = { requestsPerMinute: 1_000_000, signInsPerMinute: 1_000_000 };

export async function testApp(options: TestAppOptions = {}): Promise<TestApp> {
  const {
    fleet = new FakeFleet(),
    logger = silentLogger(),
    operators = testOperatorsOnce,
  } = options;
  const clock = new StandingClock();
  const sealed = new SealedText(HTTP_STORE_KEY, 'session', systemRandom);
  const sessions = new Sessions({ sealed, operators, clock, random: systemRandom });
  const events = new Events({ fleet, sessions, logger, ...options.events });
  const environment: HttpEnvironment = {
    ...{ fleet, events, sessions, operators, logger, clock, random: systemRandom },
    system: { report: () => Promise.resolve(FAKE_SYSTEM) },
    oidc: options.oidc,
    secure: options.secure ?? false,
    limits: { ...defaultLimits, ...PLENTY, ...options.limits },
  };
  const app = await createApp(environment, options);
  await app.ready();
  return {
    ...{ app, fleet, clock, events, environment },
    close: async () => {
      await events.close();
      await app.close();
    },
  };
}

/** Apps that are closed together, behind each test. */
export class TestApps {
  readonly #open: TestApp[] = [];

  readonly start = async (options?: TestAppOptions): Promise<TestApp> => {
    const started = await testApp(options);
    this.#open.push(started);
    return started;
  };

  async close(): Promise<void> {
    for (const one of this.#open.splice(0)) await one.close();
  }
}

const once = testOperators();
const testOperatorsOnce = (): TokenOperators => once;

/** What a browser keeps of a session. */
export interface SignedIn {
  readonly cookies: Record<string, string>;
  readonly csrfToken: string;
}

/** Signs in as the fixture's operator of a role. */
export async function signInAs(app: HttpApp, role: OperatorRole): Promise<SignedIn> {
  const response = await app.inject({
    method: 'POST',
    url: '/api/v1/session',
    payload: { token: TOKENS[role] },
  });
  if (response.statusCode !== 200) throw new Error(`sign-in: ${response.body}`);
  return signedIn(response);
}

/** The session of a sign-in's answer. */
export function signedIn(response: LightMyRequestResponse): SignedIn {
  const { csrfToken } = response.json<{ csrfToken: string }>();
  const cookies = Object.fromEntries(response.cookies.map(({ name, value }) => [name, value]));
  return { cookies, csrfToken };
}

/** Calls as the dashboard does. */
export function call(
  app: HttpApp,
  session: SignedIn | undefined,
  options: InjectOptions,
): Promise<LightMyRequestResponse> {
  return app.inject({
    ...options,
    ...(session && {
      cookies: session.cookies,
      headers: { 'x-csrf-token': session.csrfToken, ...options.headers },
    }),
  });
}
