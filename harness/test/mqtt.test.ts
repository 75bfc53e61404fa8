/** Rows from a real broker: in order, each until it is dealt with. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { isDuoveilError } from '@duoveil/common/errors';
import {
  createAuthority,
  issueCertificate,
  silentLogger,
  writeCredentials,
} from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { connectAsync } from 'mqtt';
import type { IClientPublishOptions } from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { mqttSource, readMqttMapping } from '../../gateway/src/sources/index.js';
import type { SourceRow } from '../../gateway/src/sources/index.js';
import { Mosquitto } from '../src/parties/mosquitto.js';
import type { MosquittoOptions } from '../src/parties/mosquitto.js';

const CHANNELS = ['HR', 'SpO2'];
const T0 = Date.UTC(2026, 4, 4, 10, 44, 18);
const WHOLE = 'message: { topic: vitals, time: /t, channels: { HR: /hr, SpO2: /spo2 } }';
const OWN = `channels:
  HR: { topic: hr, value: /v, time: /t }
  SpO2: { topic: spo2, value: /v, time: /t }`;

if (!Mosquitto.available) {
  process.stderr.write('no Mosquitto here: apt-get install mosquitto; its tests are skipped\n');
}

describe.skipIf(!Mosquitto.available)('a broker', () => {
  let directory: string;
  let broker: Mosquitto;
  let open: Iterator[];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'duoveil-mqtt-test-'));
    open = [];
  });
  afterEach(async () => {
    for (const one of open) await one.leave();
    await broker.stop();
    await rm(directory, { recursive: true });
  });

  const begin = async (options?: MosquittoOptions): Promise<void> => {
    broker = await Mosquitto.start(options);
  };

  /** A gateway's session; by the same name as the one before. */
  async function rows(mapping: string, options: { tls?: string; password?: string } = {}) {
    const file = join(directory, 'mapping.yaml');
    const { tls, password } = options;
    const scheme = tls === undefined ? 'mqtt' : 'mqtts';
    const text = [
      ...[`broker: ${scheme}://127.0.0.1:${broker.port}`, 'clientId: gateway', mapping],
      ...(tls === undefined ? [] : [`tls: { ca: ${tls}/ca.crt }`]),
      ...(password === undefined ? [] : ['username: ward']),
    ];
    await writeFile(file, text.join('\n'));
    const iterator = new Iterator();
    const source = mqttSource(
      {
        mapping: await readMqttMapping(
          file,
          CHANNELS.map((name) => ({ name })),
        ),
        mappingFile: file,
        password: password === undefined ? undefined : new Secret(password),
        channels: CHANNELS,
        withinMs: 500,
        logger: Object.assign(silentLogger(), { info: iterator.log }),
      },
      iterator.signal,
    );
    iterator.begin(source[Symbol.asyncIterator]());
    open.push(iterator);
    return iterator;
  }

  async function publish(
    messages: readonly (readonly [topic: string, content: unknown])[],
    options: IClientPublishOptions = { qos: 1 },
  ): Promise<void> {
    const client = await connectAsync(`mqtt://127.0.0.1:${broker.port}`);
    for (const [topic, content] of messages) {
      await client.publishAsync(topic, JSON.stringify(content), options);
    }
    await client.endAsync();
  }

  const vitals = (i: number) => ['vitals', { t: T0 + 1000 * i, hr: 70 + i, spo2: 97 }] as const;
  const reading = (topic: 'hr' | 'spo2', i: number) =>
    [topic, { t: T0 + 1000 * i, v: 70 + i }] as const;
  const seconds = (found: readonly (SourceRow | undefined)[]) =>
    found.map((row) => ((row?.measuredAt ?? NaN) - T0) / 1000);

  it('delivers a row again until it is dealt with', async () => {
    await begin();
    const first = await rows(WHOLE);
    await first.connected(1);
    await publish([0, 1, 2].map(vitals));
    expect(seconds([await first.next(), await first.next()])).toEqual([0, 1]);
    // The second one is not known to be on disk.
    await first.leave();
    await publish([3, 4].map(vitals));
    const second = await rows(WHOLE);
    const found = [1, 2, 3, 4].map(() => second.next());
    expect(seconds(await Promise.all(found))).toEqual([1, 2, 3, 4]);
  });

  it('puts a row together from several topics, and delivers all of a part again', async () => {
    await begin();
    const first = await rows(OWN);
    await first.connected(1);
    await publish([reading('hr', 0), reading('spo2', 0), reading('hr', 1)]);
    expect(await first.next()).toMatchObject({ cells: { HR: '70', SpO2: '70' }, measuredAt: T0 });
    // The next is begun: asking for it says that the first is dealt with.
    const never = first.next().catch(() => undefined);
    await publish([]);
    await first.leave();
    await never;
    const second = await rows(OWN);
    await publish([reading('spo2', 1)]);
    expect(await second.next()).toMatchObject({ cells: { HR: '71', SpO2: '71' } });
  });

  it('goes on when the broker comes back', async () => {
    await begin();
    const one = await rows(WHOLE);
    await one.connected(1);
    await publish([vitals(0)]);
    expect(seconds([await one.next()])).toEqual([0]);
    const next = one.next();
    await broker.halt();
    await broker.resume();
    await publish([vitals(1)]);
    expect(seconds([await next])).toEqual([1]);
  });

  it('leaves retained messages out: they are of the past', async () => {
    await begin();
    await publish([vitals(0)], { qos: 1, retain: true });
    const one = await rows(WHOLE);
    await one.connected(1);
    await publish([vitals(1)]);
    expect(seconds([await one.next()])).toEqual([1]);
  });

  it('takes much at once, also where nothing is acknowledged', async () => {
    await begin();
    const one = await rows(WHOLE);
    await one.connected(1);
    const all = Array.from({ length: 150 }, (_, i) => i);
    await publish(all.map(vitals), { qos: 0 });
    const found: SourceRow[] = [];
    while (found.length < all.length) found.push(await one.next());
    expect(seconds(found)).toEqual(all);
  });

  it('asks for a password, over TLS with its own authority', async () => {
    const tls = join(directory, 'tls');
    const now = new Date();
    const authority = await createAuthority({ commonName: 'ward', days: 2, now });
    await writeCredentials(
      tls,
      await issueCertificate(authority, {
        identity: { trustDomain: 'ward.internal', role: 'sp' },
        hosts: ['127.0.0.1'],
        days: 1,
        now,
      }),
    );
    const user = { name: 'ward', password: 'right' };
    const files = { certificate: 'tls.crt', key: 'tls.key', ca: 'ca.crt' } as const;
    const paths = Object.entries(files).map(([key, name]) => [key, join(tls, name)]);
    await begin({ user, tls: Object.fromEntries(paths) as Record<keyof typeof files, string> });
    const right = await rows(WHOLE, { tls, password: 'right' });
    await right.connected(1);
    const wrong = await rows(WHOLE, { tls, password: 'a wrong one' });
    const failure: unknown = await wrong.next().catch((error: unknown) => error);
    if (!isDuoveilError(failure, 'INPUT_INVALID')) throw new Error('not refused');
    expect(failure.message).toMatch(/: refuses the connection \(reason 13[45]\); are name and/);
  });
});

/** Rows one by one, and a way to leave in between, as when the process ends. */
class Iterator {
  readonly #abort = new AbortController();
  readonly #waiting: (() => void)[] = [];
  #connections = 0;
  #rows: AsyncIterator<SourceRow> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  readonly log = (message: string): void => {
    if (message === 'subscribed at the broker') this.#connections += 1;
    for (const look of this.#waiting.splice(0)) look();
  };

  begin(rows: AsyncIterator<SourceRow>): void {
    this.#rows = rows;
    // A session begins with the first step.
    this.#first = this.#step();
  }

  #first: Promise<SourceRow> | undefined;

  async connected(times: number): Promise<void> {
    while (this.#connections < times) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  next(): Promise<SourceRow> {
    const first = this.#first;
    this.#first = undefined;
    return first ?? this.#step();
  }

  #step(): Promise<SourceRow> {
    const step = (async () => {
      const step = await this.#rows?.next();
      return step?.value as SourceRow;
    })();
    this.#last = step.catch(() => undefined);
    return step;
  }

  async leave(): Promise<void> {
    this.#abort.abort(new Error('left'));
    await this.#rows?.return?.();
    await this.#last;
  }
}
