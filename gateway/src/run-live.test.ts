import { Readable } from 'node:stream';

import { encodeKey, generateKeyPair, provePossession, Bcp } from '@duoveil/common/bcp';
import { isDuoveilError } from '@duoveil/common/errors';
import { createPortableEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import { silentLogger } from '@duoveil/common/runtime';
import type { LogFields, Logger } from '@duoveil/common/runtime';
import { Sample } from '@duoveil/proto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { BoundedQueue } from './bounded-queue.js';
import type { ClockOffsets } from './clock-watch.js';
import { FAST, openTestSpool, PARAMETERS, PATIENT, STATE, TestBed } from './fixture.js';
import type { LiveEvent } from './run-events.js';
import { runLive } from './run-live.js';
import type { LiveOptions } from './run-live.js';
import { ndjsonSource, streamInput } from './sources/index.js';
import type { OpenSource, SourceRow } from './sources/index.js';
import type { Spool } from './spool.js';

const engine = createPortableEngine({ threads: 0 });
const bcp = new Bcp(PARAMETERS, engine);
const keys = await generateKeyPair(bcp, systemRandom);
const proof = await provePossession(bcp, keys, PATIENT, systemRandom);
const state = { ...STATE, key: encodeKey(keys.publicKey, proof, PARAMETERS) };

const T0 = Date.UTC(2026, 4, 4);

/** Rows that the test lets in one by one, and whether each is dealt with. */
class Feed {
  readonly #queue = new BoundedQueue<SourceRow>(1000);
  readonly #never = new AbortController().signal;
  index = 0;
  /** Rows that were asked for: all before the last are dealt with. */
  asked = 0;
  ended = false;

  async put(measuredAt?: number, SpO2: string | undefined = '97'): Promise<void> {
    const index = this.index++;
    const cells = { HR: '70', SpO2 };
    await this.#queue.push(
      measuredAt === undefined ? { index, cells } : { index, cells, measuredAt },
      this.#never,
    );
  }

  end(): void {
    this.#queue.end();
  }

  get open(): OpenSource {
    const rows = async function* (
      feed: Feed,
      signal: AbortSignal,
    ): AsyncGenerator<SourceRow, void> {
      try {
        feed.asked += 1;
        for await (const row of feed.#queue.items(signal)) {
          yield row;
          feed.asked += 1;
        }
      } finally {
        feed.ended = true;
      }
    };
    return (signal) => ({ name: 'feed', [Symbol.asyncIterator]: () => rows(this, signal) });
  }
}

let bed: TestBed;
let spool: Spool;
let feed: Feed;
let events: LiveEvent[];
let logs: [message: string, fields: LogFields | undefined][];
beforeEach(async () => {
  bed = await TestBed.create();
  await bed.sp.start();
  spool = openSpool();
  feed = new Feed();
  events = [];
  logs = [];
});
afterEach(async () => {
  spool.close();
  await bed.close();
});

function openSpool(): Spool {
  return openTestSpool(bed.directory, { maxSamples: 16 });
}

const logger: Logger = Object.assign(silentLogger(), {
  warn: (message: string, fields?: LogFields) => {
    logs.push([message, fields]);
  },
  child: () => silentLogger(),
});

const clock = { now: () => new Date(T0), monotonicMs: () => 0 };

async function run(options: Partial<LiveOptions> = {}, signal = new AbortController().signal) {
  return runLive(
    {
      ...FAST,
      source: feed.open,
      state,
      spool,
      connection: options.connection ?? (await bed.connect()),
      emit: (event) => {
        events.push(event);
      },
      engine,
      logger,
      clock,
      ...options,
    },
    signal,
  );
}

const received = () => bed.sp.received.map(([, bytes]) => Sample.decode(bytes));

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe('runLive', () => {
  it('sends rows as they come, with their times, and tells what becomes of them', async () => {
    const running = run();
    for (let i = 0; i < 6; i += 1) {
      await feed.put(T0 + 1000 * i);
      await until(() => bed.sp.received.length === i + 1);
    }
    await feed.put(T0 + 6000, 'NaN');
    await feed.put();
    feed.end();
    const summary = await running;
    expect(received().map(({ sequence, measuredAtMs }) => [sequence, measuredAtMs])).toEqual([
      ...[0, 1, 2, 3, 4, 5].map((i) => [BigInt(i + 1), BigInt(T0 + 1000 * i)]),
      [7n, undefined],
    ]);
    const skipped: LiveEvent = {
      kind: 'skipped',
      reason: 'SpO2 is missing',
      measuredAt: T0 + 6000,
    };
    expect(events).toContainEqual(skipped);
    expect(events.filter((event) => event.kind !== 'skipped')).toEqual([
      ...[1, 2, 3, 4].map((sequence) => ({ kind: 'learning', sequence })),
      { kind: 'trained', model: 1, trainMs: 20 },
      expect.objectContaining({ kind: 'scored', sequence: 5 }),
      expect.objectContaining({ kind: 'scored', sequence: 6 }),
      expect.objectContaining({ kind: 'scored', sequence: 7 }),
    ]);
    expect(summary).toMatchObject({ rows: 8, learning: 4, scored: 3, skipped: 1 });
    // A time is one byte for its name and six for what it says.
    const [, last] = bed.sp.received[5] ?? [];
    expect(summary.bytesPerSample).toBe((last?.length ?? 0) + 3);
  });

  it('says that a row is dealt with when it is on disk, and goes on behind it after a restart', async () => {
    const stop = new AbortController();
    const running = run({}, stop.signal);
    await feed.put(T0);
    await until(() => feed.asked === 2);
    expect(spool.last).toBe(1);
    stop.abort(new Error('stopped'));
    // Being stopped is how a live run ends.
    expect(await running).toMatchObject({ rows: expect.any(Number) as number });
    expect(feed.ended).toBe(true);
    spool.close();

    spool = openSpool();
    feed = new Feed();
    const again = run();
    // The broker gives the same row again, as it may not have heard that it was dealt with.
    await feed.put(T0);
    await feed.put(T0 + 1000);
    feed.end();
    await again;
    expect(events).toContainEqual({
      kind: 'skipped',
      reason: 'its time was there before',
      measuredAt: T0,
    });
    expect([...bed.sp.stored.keys()]).toEqual([1, 2]);
    expect(received().at(-1)?.measuredAtMs).toBe(BigInt(T0 + 1000));
  });

  it('goes on reading while nobody can be reached, until the spool is full', async () => {
    const first = run();
    await feed.put(T0);
    feed.end();
    await first;
    const connection = await bed.connect();
    await bed.sp.stop();

    feed = new Feed();
    const running = run({ connection });
    for (let i = 1; i <= 20; i += 1) await feed.put(T0 + 1000 * i);
    await until(() => spool.size === 16);
    // Seventeen rows are asked for; the last of them waits for room.
    expect(feed.asked).toBe(17);
    await bed.sp.start();
    feed.end();
    await running;
    expect([...bed.sp.stored.keys()]).toEqual(Array.from({ length: 21 }, (_, i) => i + 1));
    expect(events.filter(({ kind }) => kind === 'scored')).toHaveLength(17);
  });

  it('waits for the service provider where the spool does not know the series', async () => {
    for (let sequence = 1; sequence <= 6; sequence += 1) {
      bed.sp.stored.set(sequence, Buffer.alloc(1));
    }
    const running = run();
    await feed.put(T0);
    feed.end();
    await running;
    expect(received().map(({ sequence }) => sequence)).toEqual([7n]);
    expect(events).toEqual([expect.objectContaining({ kind: 'scored', sequence: 7 })]);
  });

  it('tells first what was decided while no run was there, from the last one that was told', async () => {
    const first = run();
    for (let i = 0; i < 6; i += 1) await feed.put(T0 + 1000 * i);
    feed.end();
    await first;
    events = [];
    feed = new Feed();
    const told: number[] = [];
    const second = run({ toldBefore: 4, onTold: (sequence) => told.push(sequence) });
    await feed.put(T0 + 6000);
    await until(() => told.length === 3);
    feed.end();
    await second;
    expect(told).toEqual([5, 6, 7]);
    const sequences = events.flatMap((event) => ('sequence' in event ? [event.sequence] : []));
    expect(sequences).toEqual([5, 6, 7]);
    // A note that is ahead of the spool is of another series.
    events = [];
    feed = new Feed();
    const third = run({ toldBefore: 400 });
    await feed.put(T0 + 7000);
    await until(() => events.length === 1);
    feed.end();
    await third;
    expect(events).toEqual([expect.objectContaining({ sequence: 8 })]);
  });

  it('sends again what a service provider lacks that was restored, and tells nothing twice', async () => {
    const running = run();
    for (let i = 0; i < 10; i += 1) await feed.put(T0 + 1000 * i);
    await until(() => events.filter(({ kind }) => kind !== 'trained').length === 10);
    const before = received();
    for (let sequence = 6; sequence <= 10; sequence += 1) bed.sp.stored.delete(sequence);
    await bed.sp.stop();
    for (let i = 10; i < 12; i += 1) await feed.put(T0 + 1000 * i);
    await bed.sp.start();
    await until(() => bed.sp.stored.size === 12);
    feed.end();
    const summary = await running;
    const after = received().slice(before.length);
    expect(after.slice(0, 5)).toEqual(before.slice(5));
    expect(after.map(({ sequence }) => Number(sequence))).toEqual([6, 7, 8, 9, 10, 11, 12]);
    const told = events.flatMap((event) => ('sequence' in event ? [event.sequence] : []));
    expect(told).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(events.filter(({ kind }) => kind === 'trained')).toHaveLength(1);
    expect(summary).toMatchObject({ rows: 12, learning: 4, scored: 8 });
  });

  it('refuses a spool that is older than the series, before anything in it is lost', async () => {
    await spool.put([{ sequence: 1, bytes: Buffer.alloc(1) }]);
    spool.beginRecording('a live source');
    bed.sp.statedNext = 9;
    await expect(run()).rejects.toThrow(expect.objectContaining({ code: 'SEQUENCE_CONFLICT' }));
    expect([spool.size, feed.ended]).toEqual([1, true]);
  });

  it('refuses a series that was begun with a recording', async () => {
    await spool.put([{ sequence: 1, bytes: Buffer.alloc(1) }]);
    spool.beginRecording('/recording.csv');
    const failure: unknown = await run().catch((error: unknown) => error);
    if (!isDuoveilError(failure, 'INPUT_INVALID')) throw new Error('not refused');
    expect(failure.message).toMatch(/^the series of patient-1 was begun with the recording/);
  });

  it('reports clocks that differ and gaps, and changes neither', async () => {
    bed.sp.aheadMs = 90_000;
    const offsets: ClockOffsets[] = [];
    const far = { ...clock, now: () => new Date() };
    const running = run({ clock: far, onClocks: (one) => offsets.push(one) });
    const begin = Date.now() - 3_600_000;
    const times = [0, 1000, 2000, 62_000, 63_000, 64_000].map((ms) => begin + ms);
    for (const time of times) await feed.put(time);
    feed.end();
    await running;
    expect(received().map(({ measuredAtMs }) => Number(measuredAtMs))).toEqual(times);
    expect(logs.map(([message]) => message)).toEqual([
      "the service provider's clock differs",
      "the device's clock differs, or its readings come late",
      'nothing complete was measured for a time',
    ]);
    const ahead = logs.map(([, fields]) => Number(fields?.['aheadMs'] ?? fields?.['gapMs']));
    expect(Math.abs((ahead[0] ?? 0) - 90_000)).toBeLessThan(30_000);
    expect(ahead[1]).toBeLessThan(-3_500_000);
    expect(ahead[2]).toBe(60_000);
    expect(offsets.at(-1)?.device).toBeLessThan(-3_500_000);
  });

  it('leaves a stream that nothing comes from when it is stopped', async () => {
    const stop = new AbortController();
    const stdin = new Readable({ read: () => undefined });
    const channels = ['HR', 'SpO2'];
    const source: OpenSource = (signal) =>
      ndjsonSource({ input: streamInput('standard input', stdin, signal), channels });
    const running = run({ source }, stop.signal);
    stdin.push('{"HR":70,"SpO2":97}\n');
    await until(() => bed.sp.received.length === 1);
    stop.abort(new Error('stopped'));
    await running;
    expect(stdin.destroyed).toBe(true);
  });
});
