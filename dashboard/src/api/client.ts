import { ApiError, errorOf } from './api-error.js';
import { readEvents } from './event-stream.js';
import type {
  Alarm,
  AlarmFilter,
  FleetChange,
  LevelPoint,
  PatientDetail,
  PatientSummary,
  Session,
  SignInOptions,
  SystemState,
} from './types.js';

/** Where an operator goes to sign in at the identity provider. */
export const OIDC_START = 'api/v1/oidc/start';

/** The server writes a heartbeat every 15 s; after this long without one it is gone. */
const SILENCE_MS = 40_000;

/** How long a call may take. */
const CALL_MS = 15_000;

/** A patient's samples come in pieces of at most this many. */
export const TIMELINE_LIMIT = 5_000;

/** Alarms that one call acknowledges: as many as a body has room for. */
const IDS_AT_ONCE = 100;

/** The operators' HTTP API. Every call rejects with an {@link ApiError}. */
export interface Api {
  signInOptions(): Promise<SignInOptions>;
  signIn(token: string): Promise<Session>;
  session(): Promise<Session>;
  signOut(): Promise<void>;
  patients(): Promise<readonly PatientSummary[]>;
  patient(patient: string): Promise<PatientDetail>;
  /** Samples in order, from a number on; at most {@link TIMELINE_LIMIT}. */
  timeline(patient: string, from: number): Promise<readonly LevelPoint[]>;
  relearn(patient: string): Promise<void>;
  suppress(patient: string, until: Date, reason: string): Promise<void>;
  unsuppress(patient: string): Promise<void>;
  alarms(filter: AlarmFilter, limit: number): Promise<readonly Alarm[]>;
  acknowledge(ids: readonly string[]): Promise<readonly Alarm[]>;
  system(): Promise<SystemState>;
  /** Resolves once the server has begun to send changes. */
  changes(signal: AbortSignal): Promise<AsyncIterable<FleetChange>>;
}

/** What the API works with. */
export interface ApiOptions {
  /** Called when a call is refused because the session has ended. */
  readonly onSignedOut: () => void;
  /** Replaced in tests. */
  readonly fetch?: typeof globalThis.fetch;
}

/** The API over `fetch`. */
export function httpApi({ onSignedOut, fetch = browserFetch }: ApiOptions): Api {
  /** Empty while nobody is signed in. */
  let csrfToken = '';

  const send = async (method: string, path: string, how: Partial<Sent> = {}): Promise<Response> => {
    const headers: Record<string, string> = { accept: how.accept ?? 'application/json' };
    if (how.body !== undefined) headers['content-type'] = 'application/json';
    if (method !== 'GET' && csrfToken !== '') headers['x-csrf-token'] = csrfToken;
    const response = await fetch(`api/v1${path}`, {
      method,
      headers,
      credentials: 'same-origin',
      cache: 'no-store',
      signal: how.signal ?? AbortSignal.timeout(CALL_MS),
      ...(how.body === undefined ? {} : { body: JSON.stringify(how.body) }),
    }).catch((error: unknown) => {
      throw unreachable(error);
    });
    if (response.ok) return response;
    if (response.status === 401 && csrfToken !== '') {
      csrfToken = '';
      onSignedOut();
    }
    throw await errorOf(response);
  };

  const get = async <T>(path: string): Promise<T> => (await send('GET', path)).json() as Promise<T>;

  const opened = (session: Session): Session => {
    csrfToken = session.csrfToken;
    return session;
  };

  return {
    signInOptions: () => get('/sign-in'),
    signIn: async (token) => {
      const response = await send('POST', '/session', { body: { token } });
      return opened((await response.json()) as Session);
    },
    session: async () => opened(await get('/session')),
    signOut: async () => {
      await send('DELETE', '/session');
      csrfToken = '';
    },
    patients: async () => (await get<{ patients: PatientSummary[] }>('/patients')).patients,
    patient: (patient) => get(at(patient)),
    timeline: async (patient, from) => {
      const query = parameters({ from, limit: TIMELINE_LIMIT });
      return (await get<{ points: LevelPoint[] }>(`${at(patient)}/timeline${query}`)).points;
    },
    relearn: async (patient) => {
      await send('POST', `${at(patient)}/relearn`);
    },
    suppress: async (patient, until, reason) => {
      const body = { until: until.toISOString(), reason };
      await send('PUT', `${at(patient)}/suppression`, { body });
    },
    unsuppress: async (patient) => {
      await send('DELETE', `${at(patient)}/suppression`);
    },
    alarms: async (filter, limit) => {
      const query = parameters({ ...filter, limit });
      return (await get<{ alarms: Alarm[] }>(`/alarms${query}`)).alarms;
    },
    acknowledge: async (ids) => {
      const alarms: Alarm[] = [];
      for (let at = 0; at < ids.length; at += IDS_AT_ONCE) {
        const body = { ids: ids.slice(at, at + IDS_AT_ONCE) };
        const response = await send('POST', '/alarms/acknowledge', { body });
        alarms.push(...((await response.json()) as { alarms: Alarm[] }).alarms);
      }
      return alarms;
    },
    system: () => get('/system'),
    changes: async (signal) => {
      const { body } = await send('GET', '/events', { accept: 'text/event-stream', signal });
      if (body === null) throw unreachable(new Error('there is no stream'));
      return changesIn(body);
    },
  };
}

const browserFetch: typeof globalThis.fetch = (input, init) => globalThis.fetch(input, init);

interface Sent {
  readonly body: unknown;
  readonly accept: string;
  readonly signal: AbortSignal;
}

async function* changesIn(body: ReadableStream<Uint8Array>): AsyncGenerator<FleetChange, void> {
  for await (const { type, data } of readEvents(body, SILENCE_MS)) {
    if (type === 'change') yield JSON.parse(data) as FleetChange;
  }
}

function at(patient: string): string {
  return `/patients/${encodeURIComponent(patient)}`;
}

function parameters(
  values: Readonly<Record<string, string | number | boolean | undefined>>,
): string {
  const given = Object.entries(values).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)]],
  );
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`;
}

function unreachable(cause: unknown): ApiError {
  const late = cause instanceof DOMException && cause.name === 'TimeoutError';
  const message = late ? 'the server did not answer in time' : 'the server cannot be reached';
  return new ApiError(0, 'UNREACHABLE', message);
}
