/** What a receiver gets of alarms: signed, at least once, in their last state, and no vital sign. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { getEventListeners, once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { Bcp } from '@duoveil/common/bcp';
import { Bell, silentLogger, systemClock, type Sleep } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { AlarmCause } from '../alarms/alarm.js';
import {
  acknowledged,
  alarmId,
  cleared,
  EMPTY_BOOK,
  raised,
  suppressed,
  unsuppressed,
} from '../alarms/book.js';
import type { BookChange } from '../alarms/book.js';
import { alarmPolicy } from '../alarms/policy.js';
import { engine, leaseOf, memoryStore, PATIENT, testParameters, testPatient } from '../fixture.js';
import { AlarmKeeper } from '../monitor/alarm-keeper.js';
import type { Lease, Store } from '../store/index.js';
import { Outlet } from './outlet.js';
import { webhookOf } from './settings.js';
import { webhook, type WebhookOptions } from './webhook.js';

const parameters = await testParameters();
const { patient } = await testPatient(new Bcp(parameters, engine));
const secret = new Secret('a secret of thirty-two characters');
const at = (seconds: number): Date => new Date(1_767_225_600_000 + seconds * 1000);
const level: AlarmCause = { kind: 'level', rule: { level: 3, count: 20, of: 30 } };

interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** As a receiver is told to do it in docs/alarms.md. */
function isGenuine({ headers, body }: Received, key: string, now: Date): boolean {
  const timestamp = String(headers['x-duoveil-timestamp']);
  const expected = createHmac('sha256', key).update(`${timestamp}.${body}`).digest();
  const [, hex = ''] = /^sha256=([0-9a-f]{64})$/.exec(String(headers['x-duoveil-signature'])) ?? [];
  const given = Buffer.from(hex, 'hex');
  const isFresh = Math.abs(now.getTime() / 1000 - Number(timestamp)) < 300;
  return isFresh && given.length === expected.length && timingSafeEqual(given, expected);
}

let server: Server;
let received: Received[];
let arrival: Bell;
/** The status of the next answers; 204 where there is none. */
let answers: number[];
let store: Store;
let lease: Lease;
let stop: AbortController;
let outlets: Outlet[];
let pauses: number[];
beforeEach(async () => {
  [received, answers, outlets, pauses] = [[], [], [], []];
  [arrival, stop] = [new Bell(), new AbortController()];
  server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      received.push({ headers: request.headers, body: Buffer.concat(parts).toString('utf8') });
      response.writeHead(answers.shift() ?? 204, { location: '/elsewhere' }).end();
      arrival.ring();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  store = await memoryStore(parameters);
  await store.patients.keep(patient, at(0));
  lease = await leaseOf(store);
});
afterEach(async () => {
  stop.abort();
  await Promise.all(outlets.map((outlet) => outlet.stopped()));
  await store.close();
  server.closeAllConnections();
  server.close();
});

const url = (): URL => {
  const { port } = server.address() as AddressInfo;
  return new URL(`http://127.0.0.1:${String(port)}/hook`);
};

/** A process that watches the patient. */
async function watching(change: Partial<WebhookOptions> = {}, tells = true): Promise<AlarmKeeper> {
  const send = webhook({ url: url(), secret, format: 'json', clock: systemClock, ...change });
  // No waiting between attempts.
  const sleep: Sleep = (ms) => {
    pauses.push(ms);
    return new Promise(setImmediate);
  };
  const outlet = new Outlet({ send, sleep, logger: silentLogger(), stop: stop.signal });
  outlets.push(outlet);
  const keeper = new AlarmKeeper({
    ...{ lease, store, clock: systemClock, policy: alarmPolicy(), books: new Bell() },
    ...{ observer: undefined, outlet: tells ? outlet : undefined },
  });
  await keeper.restore(0);
  return keeper;
}

/** Somebody changes the book, and whoever watches hears of it. */
async function change(keeper: AlarmKeeper | undefined, ...changes: BookChange[]): Promise<void> {
  for (const one of changes) await store.books.change(new Map([[PATIENT, one]]));
  await keeper?.reload();
}
const raise =
  (seconds: number, cause: AlarmCause = level): BookChange =>
  (book) =>
    raised(book, { patient: PATIENT, cause, sequence: seconds, at: at(seconds) });
const clear: BookChange = (book) => cleared(book, () => true, at(60));
const acknowledge =
  (number: number): BookChange =>
  (book) =>
    acknowledged(book, alarmId(PATIENT, number), { by: 'alice', at: at(50) });

const taken = (count: number): Promise<void> => arrival.until(() => received.length >= count);
const settled = (keeper: AlarmKeeper): Promise<void> =>
  vi.waitUntil(() => keeper.untold().length === 0).then(() => undefined);
const keys = (): unknown[] => received.map(({ headers }) => headers['idempotency-key']);

describe('a webhook', () => {
  it('gets each state of an alarm, in order, as JSON', async () => {
    const keeper = await watching();
    await change(keeper, raise(1));
    await taken(1);
    expect(JSON.parse(received[0]?.body ?? '')).toEqual({
      state: 'active-unacknowledged',
      alarm: {
        ...{ id: 'patient-1:1', patient: 'patient-1', kind: 'level', sequence: 1 },
        rule: { level: 3, count: 20, of: 30 },
        ...{ raisedAt: at(1).toISOString(), suppressed: false },
      },
    });
    await settled(keeper);
    await change(keeper, acknowledge(1));
    await taken(2);
    await settled(keeper);
    await change(keeper, clear);
    await taken(3);
    await settled(keeper);
    expect(keys()).toEqual([
      'patient-1:1/active-unacknowledged',
      'patient-1:1/active-acknowledged',
      'patient-1:1/cleared-acknowledged',
    ]);
    expect(received[0]?.headers['content-type']).toBe('application/json');
  });

  it('is signed: another secret, body or time, or an old one, is noticed', async () => {
    const keeper = await watching();
    await change(keeper, raise(1));
    await taken(1);
    const [one] = received;
    if (one === undefined) throw new Error('nothing came');
    const now = new Date();
    expect(isGenuine(one, secret.reveal(), now)).toBe(true);
    const { headers, body } = one;
    const later = {
      ...headers,
      'x-duoveil-timestamp': `${String(headers['x-duoveil-timestamp'])}1`,
    };
    const unsigned = { ...headers, 'x-duoveil-signature': undefined };
    expect(isGenuine(one, 'another secret', now)).toBe(false);
    expect(
      isGenuine({ headers, body: body.replace('active', 'cleared') }, secret.reveal(), now),
    ).toBe(false);
    expect(isGenuine({ headers: later, body }, secret.reveal(), now)).toBe(false);
    expect(isGenuine({ headers: unsigned, body }, secret.reveal(), now)).toBe(false);
    const tomorrow = new Date(now.getTime() + 86_400_000);
    expect(isGenuine(one, secret.reveal(), tomorrow)).toBe(false);
    // The broken one: a sender that signs with another secret.
    received.length = 0;
    const wrong = await watching({ secret: new Secret('not the secret of the receiver') });
    await change(wrong, raise(2));
    await taken(1);
    expect(received.some((each) => isGenuine(each, secret.reveal(), new Date()))).toBe(false);
  });

  it('is a FHIR flag where that is wanted, and carries no vital sign', async () => {
    const keeper = await watching({ format: 'fhir' });
    await change(keeper, raise(1), raise(2, { kind: 'silence', since: at(-60) }), clear);
    await taken(2);
    const flag: unknown = JSON.parse(received[0]?.body ?? '');
    expect(flag).toEqual({
      resourceType: 'Flag',
      extension: [{ url: 'urn:duoveil:alarm-state', valueCode: 'cleared-unacknowledged' }],
      identifier: [{ system: 'urn:duoveil:alarm', value: 'patient-1:1' }],
      status: 'inactive',
      category: [expect.objectContaining({ coding: expect.any(Array) as unknown })],
      code: {
        coding: [{ system: 'urn:duoveil:alarm-kind', code: 'level' }],
        text: 'of the last 30 samples 20 or more reached level 3',
      },
      subject: {
        type: 'Patient',
        identifier: { system: 'urn:duoveil:patient', value: 'patient-1' },
      },
      period: { start: at(1).toISOString(), end: at(60).toISOString() },
    });
    for (const { body, headers } of received) {
      expect(headers['content-type']).toBe('application/fhir+json');
      expect(body).not.toMatch(/value(Quantity|Integer|Decimal)|8867-4|59408-5|loinc/i);
    }
  });

  it('is tried again, ever later, until it takes what it is told', async () => {
    answers = [503, 302, 500, 404];
    const keeper = await watching();
    await change(keeper, raise(1));
    await taken(5);
    await settled(keeper);
    expect(pauses).toEqual([1000, 2000, 4000, 8000]);
    expect(new Set(keys())).toEqual(new Set(['patient-1:1/active-unacknowledged']));
    expect(received).toHaveLength(5);
  });

  it('is told again where it is not known that it was, and not after a restart otherwise', async () => {
    const keeper = await watching();
    const write = store.books.write.bind(store.books);
    vi.spyOn(store.books, 'write').mockRejectedValueOnce(new Error('the power is gone'));
    await change(keeper, raise(1));
    await taken(2);
    await settled(keeper);
    expect(keys()).toEqual(Array(2).fill('patient-1:1/active-unacknowledged'));
    store.books.write = write;
    keeper.close();
    const next = await watching();
    await change(next, raise(2));
    await taken(3);
    await settled(next);
    expect(keys().slice(2)).toEqual(['patient-1:2/active-unacknowledged']);
  });

  it('gets the last state of what changed while nobody told', async () => {
    const keeper = await watching();
    keeper.close();
    await change(undefined, raise(1), raise(2), acknowledge(1), clear);
    const next = await watching();
    await taken(2);
    await settled(next);
    expect(keys()).toEqual([
      'patient-1:1/cleared-acknowledged',
      'patient-1:2/cleared-unacknowledged',
    ]);
  });

  it('is not flooded with what was before there was one', async () => {
    await change(undefined, raise(1), clear, raise(2));
    const keeper = await watching();
    await taken(1);
    await settled(keeper);
    keeper.close();
    (await watching({}, false)).close();
    await change(undefined, clear, raise(3), clear);
    const again = await watching();
    await change(again, raise(4));
    await taken(2);
    await settled(again);
    expect(keys()).toEqual([
      'patient-1:2/active-unacknowledged',
      'patient-1:4/active-unacknowledged',
    ]);
  });

  it('is not told of suppressed alarms, but of those that outlast that', async () => {
    const quiet = { by: 'alice', at: at(0), until: at(100), reason: 'being washed' };
    const keeper = await watching();
    await change(keeper, (book) => suppressed(book, quiet), raise(1), clear, raise(2));
    expect(keeper.untold()).toEqual([]);
    await change(keeper, unsuppressed);
    await taken(1);
    await settled(keeper);
    expect(keys()).toEqual(['patient-1:2/active-unacknowledged']);
  });
});

describe('sending', () => {
  const listening = (): number => getEventListeners(stop.signal, 'abort').length;
  async function sent(): Promise<void> {
    const [alarm] = raise(1)(EMPTY_BOOK).alarms;
    if (alarm === undefined) throw new Error('there is no alarm');
    const send = webhook({ url: url(), secret, format: 'json', clock: systemClock });
    const sending = send(alarm, stop.signal);
    expect(listening()).toBe(1);
    await sending;
  }

  it('follows the signal that ends it, and leaves nothing on it', async () => {
    await sent();
    expect(listening()).toBe(0);
    answers = [500];
    await expect(sent()).rejects.toThrow(/status 500/);
    expect(listening()).toBe(0);
  });

  it('ends with the signal', async () => {
    const sending = sent();
    stop.abort();
    await expect(sending).rejects.toThrow(/does not answer/);
  });
});

describe('the settings of a webhook', () => {
  const settings = { webhookUrl: undefined, webhookSecret: secret, webhookFormat: 'json' } as const;

  it('are for none, https, or this machine', () => {
    expect(webhookOf(settings, systemClock)).toBeUndefined();
    for (const webhookUrl of [
      'https://a.example/x',
      'http://127.0.0.1:9/',
      'http://localhost:9/',
    ]) {
      expect(webhookOf({ ...settings, webhookUrl }, systemClock)).toBeTypeOf('function');
    }
    expect(webhookOf({ ...settings, webhookUrl: 'http://[::1]:9/' }, systemClock)).toBeDefined();
  });

  it.each([
    [{ webhookUrl: 'http://a.example/' }, /https/],
    [{ webhookUrl: 'http://127.0.0.1.a.example/' }, /https/],
    [{ webhookUrl: 'https://user:word@a.example/' }, /no user/],
    [{ webhookUrl: 'https://a.example/', webhookSecret: undefined }, /secret-file is needed/],
    [{ webhookUrl: 'https://a.example/', webhookSecret: new Secret('short') }, /16 characters/],
  ])('are refused: %o', (wrong, message) => {
    expect(() => webhookOf({ ...settings, ...wrong }, systemClock)).toThrow(message);
  });
});
