import { Writable } from 'node:stream';

import { parsePatientId } from '@duoveil/common/runtime';
import { afterEach, describe, expect, test } from 'vitest';

import { FakeFleet } from './fake-fleet.js';
import {
  call,
  signInAs,
  TestApps,
  type SignedIn,
  type TestApp,
  type TestAppOptions,
} from './fixture.js';
import { IDLE_MS } from './sessions.js';

const ONE = parsePatientId('patient-1', 'patient');
const TWO = parsePatientId('patient-2', 'patient');

const apps = new TestApps();
async function start(options?: TestAppOptions): Promise<TestApp & { readonly base: string }> {
  const started = await apps.start(options);
  await started.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = started.app.server.address() as { port: number };
  return { ...started, base: `http://127.0.0.1:${String(port)}` };
}
afterEach(() => apps.close());

/** The stream of a browser's page. */
async function listen(base: string, session: SignedIn): Promise<Stream> {
  const cookie = Object.entries(session.cookies).map(([name, value]) => `${name}=${value}`);
  const response = await fetch(`${base}/api/v1/events`, { headers: { cookie: cookie.join('; ') } });
  return new Stream(response);
}

class Stream {
  readonly response: Response;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #text = '';

  constructor(response: Response) {
    this.response = response;
    this.#reader = response.body?.getReader();
  }

  /** What comes up to the next blank line; undefined at the end. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n');
      if (end >= 0) {
        const block = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        return block;
      }
      const read = await this.#reader?.read();
      if (read === undefined || read.done) return undefined;
      this.#text += Buffer.from(read.value).toString('utf8');
    }
  }

  async change(): Promise<{
    summary: { patient: string; recent: number[][] };
    changed: unknown[];
  }> {
    const [event, data = ''] = (await this.next())?.split('\n') ?? [];
    expect(event).toBe('event: change');
    return JSON.parse(data.replace(/^data: /, '')) as never;
  }
}

test('changes come as they happen, to everybody who listens', async () => {
  const it = await start();
  const session = await signInAs(it.app, 'viewer');
  const streams = [await listen(it.base, session), await listen(it.base, session)];
  for (const stream of streams) {
    expect(stream.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(stream.response.headers.get('content-security-policy')).toContain("default-src 'self'");
    expect(stream.response.headers.get('cache-control')).toBe('no-store');
    expect(await stream.next()).toBe('retry: 1000');
  }
  it.fleet.change(ONE, 91);
  it.fleet.change(TWO, 92);
  for (const stream of streams) {
    expect(await stream.change()).toMatchObject({
      summary: { patient: ONE, recent: [[91, expect.any(Number), 1]] },
      changed: [{ id: 'patient-1:1', kind: 'level' }],
    });
    expect(await stream.change()).toMatchObject({ summary: { patient: TWO } });
  }
  it.events.beat();
  expect(await streams[0]?.next()).toBe(': alive');
  expect(it.fleet.subscribers).toBe(1);
});

describe('a stream ends', () => {
  test('with its session, when that is over', async () => {
    const it = await start();
    const stream = await listen(it.base, await signInAs(it.app, 'viewer'));
    await stream.next();
    it.clock.advance(IDLE_MS);
    it.events.beat();
    expect(await stream.next()).toBeUndefined();
  });

  test('with the sign-out, and no other one', async () => {
    const it = await start();
    const [leaving, staying] = [await signInAs(it.app, 'viewer'), await signInAs(it.app, 'viewer')];
    const [one, other] = [await listen(it.base, leaving), await listen(it.base, staying)];
    for (const stream of [one, other]) await stream.next();
    await call(it.app, leaving, { method: 'DELETE', url: '/api/v1/session' });
    expect(await one.next()).toBeUndefined();
    it.fleet.change(ONE, 91);
    expect(await other.change()).toMatchObject({ summary: { patient: ONE } });
  });

  test('with the server, which takes no new one', async () => {
    const it = await start();
    const session = await signInAs(it.app, 'viewer');
    const stream = await listen(it.base, session);
    await stream.next();
    await it.events.close();
    expect(await stream.next()).toBeUndefined();
    const refused = await listen(it.base, session);
    expect(refused.response.status).toBe(503);
  });

  test('where the fleet fails, so that nobody believes that nothing changes', async () => {
    const fleet = new FakeFleet();
    let fail: (error: Error) => void = () => undefined;
    // eslint-disable-next-line require-yield
    fleet.changes = async function* () {
      await new Promise((_resolve, reject) => {
        fail = reject;
      });
    };
    const it = await start({ fleet });
    const stream = await listen(it.base, await signInAs(it.app, 'viewer'));
    await stream.next();
    fail(new Error('the database is gone'));
    expect(await stream.next()).toBeUndefined();
  });
});

test('so many at once, in all and of one name', async () => {
  const it = await start({ events: { maxListeners: 3, maxListenersOfOne: 2 } });
  const [viewer, admin] = [await signInAs(it.app, 'viewer'), await signInAs(it.app, 'admin')];
  const statuses: number[] = [];
  const streams: Stream[] = [];
  for (const session of [viewer, viewer, viewer, admin, admin]) {
    const stream = await listen(it.base, session);
    statuses.push(stream.response.status);
    streams.push(stream);
  }
  expect(statuses).toEqual([200, 200, 429, 200, 429]);
  expect(streams[2]?.response.headers.get('retry-after')).toBe('10');
  expect(it.events.size).toBe(3);
});

describe('whoever is slow', () => {
  /** A connection that takes what it is told to. */
  class Slow extends Writable {
    readonly written: string[] = [];
    #done: (() => void) | undefined;

    constructor() {
      super({ highWaterMark: 1 });
    }

    override _write(chunk: Buffer, _encoding: string, done: () => void): void {
      this.written.push(chunk.toString());
      this.#done = done;
    }

    /** The next piece has gone. */
    async take(): Promise<void> {
      this.#done?.();
      await new Promise(setImmediate);
    }
  }

  const patients = (count: number) =>
    Array.from({ length: count }, (_, i) => parsePatientId(`patient-${String(i + 1)}`, 'patient'));

  test('gets the latest of each patient once there is room, and holds nobody up', async () => {
    const fleet = new FakeFleet(3);
    const { events, environment } = await start({ fleet });
    const session = environment.sessions.begin({ name: 'alice', role: 'viewer' });
    const slow = new Slow();
    const taken: string[] = [];
    const quick = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        taken.push(chunk.toString());
        done();
      },
    });
    events.listen(session, slow);
    events.listen(session, quick);
    for (let sequence = 1; sequence <= 1000; sequence += 1) {
      for (const patient of patients(3)) fleet.change(patient, sequence);
      await new Promise(setImmediate);
    }
    // The head was under way: everything else waited.
    expect(slow.written).toHaveLength(1);
    expect(slow.writableLength).toBeLessThan(100);
    for (let i = 0; i < 10; i += 1) await slow.take();
    const sequences = slow.written.slice(1).map((text) => /"recent":\[\[(\d+)/.exec(text)?.[1]);
    expect(sequences).toEqual(['1000', '1000', '1000']);
    expect(taken).toHaveLength(1 + 3 * 1000);
  });

  test('is given up in the end', async () => {
    const { events, environment } = await start();
    const session = environment.sessions.begin({ name: 'alice', role: 'viewer' });
    const slow = new Slow();
    events.listen(session, slow);
    for (let i = 0; i < 4; i += 1) events.beat();
    expect(slow.destroyed).toBe(false);
    events.beat();
    expect(slow.destroyed).toBe(true);
    await new Promise(setImmediate);
    expect(events.size).toBe(0);
  });
});
