import {
  Bcp,
  decodeCiphertexts,
  decrypt,
  encodeKey,
  generateKeyPair,
  provePossession,
} from '@duoveil/common/bcp';
import { isDuoveilError } from '@duoveil/common/errors';
import { createPortableEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import type { Clock, Sleep } from '@duoveil/common/runtime';
import { Sample } from '@duoveil/proto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import {
  decideByNumber,
  eventsOf,
  FAST,
  openTestSpool,
  PARAMETERS,
  PATIENT,
  STATE,
  TestBed,
} from './fixture.js';
import type { RunEvent } from './run-events.js';
import { runRecording } from './run-recording.js';
import type { RecordingOptions } from './run-recording.js';
import type { Source, SourceRow } from './sources/index.js';
import type { Spool } from './spool.js';

const engine = createPortableEngine({ threads: 0 });
const bcp = new Bcp(PARAMETERS, engine);
const keys = await generateKeyPair(bcp, systemRandom);
const proof = await provePossession(bcp, keys, PATIENT, systemRandom);
const state = { ...STATE, key: encodeKey(keys.publicKey, proof, PARAMETERS) };

let bed: TestBed;
let spool: Spool;
let events: RunEvent[];
let rowsRead: number;
beforeEach(async () => {
  bed = await TestBed.create();
  await bed.sp.start();
  spool = openTestSpool(bed.directory, { maxSamples: 16 });
  events = [];
  rowsRead = 0;
});
afterEach(async () => {
  spool.close();
  await bed.close();
});

/** Rows that differ: HR is 60 and the row's index. `missing` lacks SpO2. */
function source(rows: number, missing: readonly number[] = [], seconds = false): Source {
  return {
    name: 'recording.csv',
    async *[Symbol.asyncIterator](): AsyncGenerator<SourceRow, void> {
      for (let index = 0; index < rows; index += 1) {
        rowsRead += 1;
        await Promise.resolve();
        const cells = {
          HR: String(60 + (index % 200)),
          SpO2: missing.includes(index) ? 'NaN' : '97',
        };
        yield seconds ? { index, cells, seconds: 2 * index } : { index, cells };
      }
    },
  };
}

async function run(options: Partial<RecordingOptions> = {}, signal = new AbortController().signal) {
  return runRecording(
    {
      ...FAST,
      source: source(30),
      recording: '/recording.csv',
      state,
      spool,
      connection: options.connection ?? (await bed.connect()),
      emit: (event) => {
        events.push(event);
      },
      engine,
      ...options,
    },
    signal,
  );
}

describe('runRecording', () => {
  it('gives an event for every row, in order, and sums up', async () => {
    const summary = await run();
    expect(events).toEqual(eventsOf(30));
    const [, first] = bed.sp.received[0] ?? [];
    expect(summary).toEqual({
      rows: 30,
      learning: 4,
      scored: 26,
      outliers: 3,
      skipped: 0,
      trainMs: 20,
      scoreMsMedian: 1.5,
      // The sample, and around it the message's tag and length.
      bytesPerSample: (first?.length ?? 0) + 3,
      suite: 'reference',
      output: 'distance',
      keyBits: 512,
    });
  });

  it('encrypts what the rows hold, one ciphertext a channel', async () => {
    await run({ source: source(6) });
    const plain = await Promise.all(
      bed.sp.received.map(async ([, bytes]) => {
        const { ciphertexts } = Sample.decode(bytes);
        const decoded = await decodeCiphertexts(ciphertexts, 'sample', PARAMETERS, engine);
        return decrypt(bcp, keys.secretKey, decoded);
      }),
    );
    // (60 + index - 20)/0.1, and (97 - 30)/0.1
    expect(plain).toEqual([0, 1, 2, 3, 4, 5].map((i) => [BigInt(400 + 10 * i), 670n]));
  });

  it('skips incomplete rows without sending or counting them', async () => {
    await run({ source: source(12, [0, 5, 11]) });
    expect(bed.sp.received.map(([sequence]) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const rows = events.filter((event) => event.kind !== 'trained');
    expect(rows.map(({ index, kind }) => [index, kind])).toEqual([
      [0, 'skipped'],
      ...[1, 2, 3, 4].map((index) => [index, 'learning']),
      [5, 'skipped'],
      ...[6, 7, 8, 9, 10].map((index) => [index, 'scored']),
      [11, 'skipped'],
    ]);
    expect(rows[5]).toEqual({ kind: 'skipped', index: 5, reason: 'SpO2 is missing' });
  });

  it('reports a sample that could not be scored as skipped', async () => {
    bed.sp.decide = (sequence) =>
      sequence === 6 ? { $case: 'unscorable', value: {} } : decideByNumber(sequence);
    const summary = await run({ source: source(8) });
    const reason = 'the sample could not be scored';
    expect(events).toContainEqual({ kind: 'skipped', index: 5, reason });
    expect(summary).toMatchObject({ rows: 8, scored: 3, skipped: 1 });
  });

  it('tells the same again when run again, and sends nothing twice', async () => {
    await run({ source: source(20) });
    const first = events.splice(0);
    await run({ source: source(20) });
    expect(events).toEqual(first);
    expect(bed.sp.received).toHaveLength(20);
    // More of the same recording: only the rest is sent.
    await run({ source: source(25) });
    expect(bed.sp.received).toHaveLength(25);
  });

  it('goes on after it was stopped in the middle, resending in the same bytes', async () => {
    const stop = new AbortController();
    const stopped = run(
      {
        emit: (event) => {
          if (event.kind === 'scored' && event.index === 9) stop.abort(new Error('killed'));
        },
      },
      stop.signal,
    );
    await expect(stopped).rejects.toThrow('killed');
    // As a restored service provider would: it asks for spooled samples again.
    const spooled = new Map(spool.from(1, 99).map(({ sequence, bytes }) => [sequence, bytes]));
    const before = bed.sp.received.length;
    await run();
    expect(events).toEqual(eventsOf(30));
    for (const [sequence, bytes] of bed.sp.received.slice(before)) {
      const kept = spooled.get(sequence);
      if (kept !== undefined) expect(Buffer.from(kept).includes(bytes)).toBe(true);
    }
    for (const [sequence, bytes] of bed.sp.received) {
      expect(bytes).toEqual(bed.sp.stored.get(sequence));
    }
  });

  it('sends again what a service provider has lost, and nothing else', async () => {
    await run({ source: source(20) });
    events.splice(0);
    bed.sp.received.splice(0);
    // Restored from a backup: it has the first 12.
    for (let sequence = 13; sequence <= 20; sequence += 1) bed.sp.stored.delete(sequence);
    await run();
    expect(events).toEqual(eventsOf(30));
    expect(bed.sp.received.map(([sequence]) => sequence)).toEqual(
      Array.from({ length: 18 }, (_, i) => 13 + i),
    );
  });

  it('ends where samples are lost while it runs: its next run sends them again', async () => {
    const failed = run({
      emit: async (event) => {
        if (event.kind !== 'scored' || event.index !== 9) return;
        await vi.waitUntil(() => spool.acknowledged >= 4);
        await bed.sp.stop();
        bed.sp.statedNext = 4;
        await bed.sp.start();
      },
    });
    await expect(failed).rejects.toMatchObject({
      code: 'SEQUENCE_GAP',
      message: expect.stringContaining('start the stream again') as string,
    });
    await bed.sp.stop();
    bed.sp.statedNext = undefined;
    bed.sp.stored.clear();
    await bed.sp.start();
    events = [];
    await run();
    expect(events).toEqual(eventsOf(30));
  });

  it('survives a service provider that comes and goes', async () => {
    let restart: Promise<void> | undefined;
    bed.sp.onSample = (sequence) => {
      if (sequence % 7 !== 0 || bed.sp.received.filter(([s]) => s === sequence).length > 1) return;
      restart = bed.sp.stop().then(() => bed.sp.start());
    };
    await run();
    await restart;
    expect(events).toEqual(eventsOf(30));
    for (const [sequence, bytes] of bed.sp.received) {
      expect(bytes).toEqual(bed.sp.stored.get(sequence));
    }
  });

  it('does not run ahead of the decisions without bound', async () => {
    const rows = 6000;
    const gate = new AbortController();
    const missing = Array.from({ length: rows }, (_, i) => i).filter((i) => i > 40);
    const stopped = run(
      {
        source: source(rows, missing),
        emit: async (event) => {
          if (event.kind !== 'scored' || event.index !== 20) return;
          const counted = rowsRead;
          await new Promise((resolve) => setTimeout(resolve, 300));
          // One reading to check; of the second one no more than what may wait.
          expect(rowsRead).toBeGreaterThan(counted - 1);
          expect(rowsRead - rows).toBeLessThan(4200);
          gate.abort(new Error('seen'));
        },
      },
      gate.signal,
    );
    await expect(stopped).rejects.toThrow('seen');
  });

  it('does not stall where a batch is not full and all that follows is skipped', async () => {
    const missing = Array.from({ length: 9000 }, (_, i) => i).filter((i) => i > 9);
    const summary = await run({ source: source(9000, missing) });
    expect(summary).toMatchObject({ rows: 9000, scored: 6, skipped: 8990 });
  });

  it('refuses a recording that is too short, before anything is sent', async () => {
    const error: unknown = await run({ source: source(5, [1, 2]) }).catch((e: unknown) => e);
    expect(isDuoveilError(error, 'INPUT_INVALID')).toBe(true);
    expect((error as Error).message).toBe(
      'recording.csv has 3 complete rows of 5; a window of 4 needs at least 4',
    );
    expect(bed.sp.opens).toBe(0);
  });

  it('refuses another recording in place of the one that was begun', async () => {
    await run();
    await expect(run({ recording: '/other.csv' })).rejects.toThrow(/was begun with \/recording/);
  });

  it('ends with the failure of whoever takes the events', async () => {
    const emit = (): void => {
      throw new Error('nobody reads');
    };
    await expect(run({ emit })).rejects.toThrow('nobody reads');
  });

  it.each([
    ['at 1 Hz without times', false, 1000],
    ['by the rows own times', true, 2000],
  ] as const)('paces rows %s', async (_, seconds, stepMs) => {
    const { clock, sleep, waits } = fakeTime();
    await run({ source: source(8, [3], seconds), realtime: true, clock, sleep });
    expect(waits).toEqual(Array.from({ length: 7 }, () => stepMs));
    // What is sent already is not paced again.
    await run({ source: source(10, [3], seconds), realtime: true, clock, sleep });
    expect(waits).toEqual(Array.from({ length: 8 }, () => stepMs));
    expect(events.filter((event) => event.kind !== 'trained')).toHaveLength(18);
  });
});

/** Time that passes only where somebody sleeps; the pauses between connections are not counted. */
function fakeTime(): { clock: Clock; sleep: Sleep; waits: number[] } {
  let nowMs = 0;
  const waits: number[] = [];
  const sleep: Sleep = (ms) => {
    if (ms < 500) return Promise.resolve();
    nowMs += ms;
    waits.push(ms);
    return Promise.resolve();
  };
  return { clock: { now: () => new Date(0), monotonicMs: () => nowMs }, sleep, waits };
}
