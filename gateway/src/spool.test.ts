import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { isDuoveilError } from '@duoveil/common/errors';
import type { ErrorCode } from '@duoveil/common/errors';
import { parsePatientId } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import Database from 'libsql';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { openTestSpool, PATIENT } from './fixture.js';
import { peekProgress } from './spool-file.js';
import type { Spool, SpooledSample, SpoolOptions } from './spool.js';

let directory = '';
let file = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-spool-'));
  file = join(directory, 'spool.db');
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

const openSpool = (options: Partial<SpoolOptions> = {}): Spool => openTestSpool(directory, options);

const sample = (sequence: number, size = 8): SpooledSample => ({
  sequence,
  bytes: Buffer.alloc(size, sequence),
});

const samples = (count: number, size?: number): SpooledSample[] =>
  Array.from({ length: count }, (_, i) => sample(i + 1, size));

const sequences = (spool: Spool): number[] => spool.from(1, 9999).map(({ sequence }) => sequence);

/** A spool with so many samples, closed. */
async function filled(count: number, size?: number): Promise<void> {
  const spool = openSpool();
  await spool.put(samples(count, size));
  spool.close();
}

/** Does something to the file behind the spool's back. */
function tamper(statement: string): void {
  const db = new Database(file);
  db.exec(statement);
  db.close();
}

function expectError(work: () => unknown, code: ErrorCode, message: RegExp): void {
  let error: unknown;
  try {
    work();
  } catch (thrown) {
    error = thrown;
  }
  if (!isDuoveilError(error)) throw new Error('it was not refused', { cause: error });
  expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
}

describe('Spool', () => {
  it('gives samples back in order, byte for byte, also after it was reopened', async () => {
    const first = openSpool();
    // A view into a longer buffer: only what it shows is stored.
    await first.put([{ sequence: 1, bytes: Buffer.from('xxhello').subarray(2) }, sample(2)]);
    await first.put([sample(3)]);
    first.close();
    const spool = openSpool();
    expect(spool.from(1, 2)).toEqual([
      { sequence: 1, bytes: Buffer.from('hello') },
      { sequence: 2, bytes: Buffer.alloc(8, 2) },
    ]);
    expect(spool.from(3, 10)).toEqual([{ sequence: 3, bytes: Buffer.alloc(8, 3) }]);
    expect([spool.size, spool.last, spool.acknowledged]).toEqual([3, 3, 0]);
    spool.close();
  });

  it('remembers what is acknowledged, also where it never held it', async () => {
    const spool = openSpool();
    const [first, second, third] = samples(3) as [SpooledSample, SpooledSample, SpooledSample];
    await spool.put([first, { ...second, measuredAt: 7 }]);
    await spool.put([third]);
    spool.acknowledge(2);
    spool.acknowledge(1);
    expect(sequences(spool)).toEqual([3]);
    spool.beginRecording('/a.csv');
    spool.close();
    const again = openSpool();
    expect([again.acknowledged, again.last, sequences(again)]).toEqual([2, 3, [3]]);
    expect(again.lastMeasuredAt).toBe(7);
    // Without the key, and while it is open.
    expect(peekProgress(file)).toEqual({
      acknowledged: 2,
      last: 3,
      recording: '/a.csv',
      measuredAt: 7,
      kept: 2,
    });
    again.acknowledge(10);
    expect([again.size, again.last, again.oldest]).toEqual([0, 10, 11]);
    await again.put([sample(11)]);
    await expect(again.put([sample(13)])).rejects.toThrow(RangeError);
    expect(() => {
      again.rewind(4);
    }).toThrow(RangeError);
    again.restart(4);
    expect([again.acknowledged, again.last, sequences(again)]).toEqual([4, 4, []]);
    again.close();
    expect(peekProgress(file)).toMatchObject({ acknowledged: 4, last: 4, recording: '/a.csv' });
    expect(peekProgress(`${file}-2`)).toBeUndefined();
  });

  it('waits for room', async () => {
    const spool = openSpool({ maxSamples: 3 });
    await spool.put(samples(2));
    let done = false;
    const put = spool.put([sample(3), sample(4)]).then(() => {
      done = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(done).toBe(false);
    spool.acknowledge(1);
    await put;
    expect(sequences(spool)).toEqual([2, 3, 4]);
    const stop = new AbortController();
    const waiting = spool.put([sample(5)], stop.signal);
    stop.abort(new Error('stopped'));
    await expect(waiting).rejects.toThrow('stopped');
    spool.close();
  });

  it('waits while the disk is full, and loses nothing', async () => {
    // A megabyte: each wait is one that had no room.
    let waits = 0;
    let confirmed = 0;
    const spool = openSpool({
      maxBytes: 1,
      sleep: () => {
        waits += 1;
        if (waits === 3) spool.acknowledge(confirmed - 1);
        return Promise.resolve();
      },
    });
    while (waits < 3) {
      await spool.put([sample(confirmed + 1, 30_000)]);
      confirmed += 1;
    }
    expect(confirmed).toBeGreaterThan(20);
    // What had no room is in now, and what was confirmed before is still there.
    expect(sequences(spool)).toEqual([confirmed - 1, confirmed]);
    expect(spool.from(confirmed, 1)).toEqual([sample(confirmed, 30_000)]);
    await spool.put([sample(confirmed + 1, 30_000)]);
    spool.close();
    expect(peekProgress(file)).toMatchObject({ acknowledged: confirmed - 2, last: confirmed + 1 });
  });

  it('is one process at a time', () => {
    const spool = openSpool();
    expectError(() => openSpool(), 'STORAGE_FAILED', /is another stream running/);
    spool.close();
    openSpool().close();
  });
});

describe('acknowledged samples', () => {
  it('are kept, and wait again in the same bytes where they are lost', async () => {
    const first = openSpool();
    await first.put(samples(9));
    first.acknowledge(7);
    first.close();
    for (const from of [4, 2]) {
      const spool = openSpool();
      expect([spool.oldest, spool.size]).toEqual([1, 2]);
      spool.rewind(from - 1);
      expect(spool.from(from, 99)).toEqual(samples(9).slice(from - 1));
      expect([spool.acknowledged, spool.last, spool.size]).toEqual([from - 1, 9, 10 - from]);
      spool.acknowledge(7);
      // Further than it has come is no way back.
      spool.rewind(8);
      expect(sequences(spool)).toEqual([8, 9]);
      spool.close();
    }
  });

  it('are as many as they may be, the newest', async () => {
    const spool = openSpool({ maxSamples: 8, keepSamples: 3 });
    await spool.put(samples(8));
    spool.acknowledge(6);
    await spool.put([sample(9)]);
    expect([spool.oldest, sequences(spool)]).toEqual([4, [7, 8, 9]]);
    spool.close();
    expect(peekProgress(file)).toMatchObject({ acknowledged: 6, last: 9, kept: 3 });
    const fewer = openSpool({ keepSamples: 1 });
    expect([fewer.oldest, sequences(fewer)]).toEqual([6, [7, 8, 9]]);
    fewer.close();
    const none = openSpool({ keepSamples: 0 });
    none.acknowledge(8);
    await none.put([sample(10)]);
    expect([none.oldest, sequences(none)]).toEqual([9, [9, 10]]);
    none.close();
    expect(peekProgress(file)).toMatchObject({ kept: 0 });
  });

  it('go where there are more without a put, too', async () => {
    const spool = openSpool({ keepSamples: 3 });
    await spool.put(samples(100));
    for (let through = 1; through <= 64; through += 1) spool.acknowledge(through);
    expect(peekProgress(file)).toMatchObject({ acknowledged: 64, kept: 3 });
    spool.close();
  });

  it('make room for those that wait, the oldest first', async () => {
    const spool = openSpool({ maxSamples: 5 });
    await spool.put(samples(5));
    spool.acknowledge(3);
    await spool.put([sample(6), sample(7)]);
    expect([spool.oldest, sequences(spool)]).toEqual([3, [4, 5, 6, 7]]);
    await spool.put([sample(8)]);
    expect([spool.oldest, sequences(spool)]).toEqual([4, [4, 5, 6, 7, 8]]);
    const stop = new AbortController();
    const waiting = spool.put([sample(9)], stop.signal);
    stop.abort(new Error('stopped'));
    await expect(waiting).rejects.toThrow('stopped');
    spool.rewind(3);
    expect(sequences(spool)).toEqual([4, 5, 6, 7, 8]);
    spool.close();
  });

  it('make room in a file that may not grow, without waiting', async () => {
    const spool = openSpool({
      maxBytes: 1,
      sleep: () => Promise.reject(new Error('it waits')),
    });
    // A megabyte: 30 samples have room, and what waits is never among those that go.
    for (let sequence = 1; sequence <= 200; sequence += 1) {
      await spool.put([sample(sequence, 30_000)]);
      if (sequence > 10) spool.acknowledge(sequence - 10);
    }
    expect(sequences(spool)).toEqual(Array.from({ length: 10 }, (_, i) => 191 + i));
    expect(spool.oldest).toBeGreaterThan(100);
    expect((await stat(file)).size).toBeLessThanOrEqual(1024 * 1024);
    spool.close();
  });

  it('are named where they are wanted again and one is damaged', async () => {
    const first = openSpool();
    await first.put(samples(9));
    first.acknowledge(8);
    first.close();
    tamper('DELETE FROM samples WHERE sequence = 4');
    const spool = openSpool();
    spool.rewind(2);
    expect(sequences(spool)).toEqual([3]);
    expectError(() => spool.from(4, 1), 'SPOOL_DAMAGED', /sample 4 is damaged or gone/);
    spool.close();
  });
});

describe('a spool at rest', () => {
  it('shows nothing of what is in it, and the same bytes never twice', async () => {
    const spool = openSpool();
    const bytes = Buffer.from('a reading under the key of the patient');
    await spool.put([1, 2].map((sequence) => ({ sequence, bytes })));
    spool.close();
    const content = await readFile(file);
    expect(content.includes(bytes)).toBe(false);
    expect(content.includes(bytes.subarray(0, 8))).toBe(false);
    const db = new Database(file);
    const rows = db.prepare('SELECT sealed FROM samples').all() as { sealed: ArrayBuffer }[];
    db.close();
    const [first, second] = rows.map(({ sealed }) => Buffer.from(sealed));
    expect(first?.length).toBe(bytes.length + 28);
    expect(first?.equals(second ?? Buffer.alloc(0))).toBe(false);
  });

  it('opens with its own key for its own patient only, before anything is read', async () => {
    await filled(3);
    const other = { key: new Secret<Uint8Array>(Buffer.alloc(32, 8)) };
    expectError(() => openSpool(other), 'UNSEALING_FAILED', /another spool key/);
    const patient = parsePatientId('patient-2', 'patient');
    expectError(() => openSpool({ patient }), 'UNSEALING_FAILED', /another patient/);
    const spool = openSpool({ patient: PATIENT });
    expect(sequences(spool)).toEqual([1, 2, 3]);
    spool.close();
  });

  it('that is not encrypted, or no spool at all, is refused', async () => {
    tamper('CREATE TABLE samples (sequence INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT');
    expectError(() => openSpool(), 'STORAGE_FAILED', /is not an encrypted spool/);
    await writeFile(file, 'something else, and quite long '.repeat(300));
    expectError(() => openSpool(), 'STORAGE_FAILED', /cannot be used as a spool/);
  });
});

describe('a spool that is damaged', () => {
  it.each([
    ['changed', 'UPDATE samples SET sealed = zeroblob(36) WHERE sequence = 4'],
    ['shortened', "UPDATE samples SET sealed = x'00' WHERE sequence = 4"],
    ['gone', 'DELETE FROM samples WHERE sequence = 4'],
    [
      'swapped with another',
      `CREATE TEMP TABLE pair AS SELECT * FROM samples WHERE sequence IN (4, 5);
       UPDATE samples SET sealed = (SELECT sealed FROM pair WHERE pair.sequence = 9 - samples.sequence)
       WHERE sequence IN (4, 5)`,
    ],
  ])('where a sample is %s: names it, after all before it, and skips nothing', async (_, how) => {
    await filled(9);
    tamper(how);
    const spool = openSpool();
    expect(sequences(spool)).toEqual([1, 2, 3]);
    const read = (): unknown => spool.from(4, 2);
    expectError(read, 'SPOOL_DAMAGED', /sample 4 is damaged or gone/);
    await spool.put([sample(10)]);
    expectError(read, 'SPOOL_DAMAGED', /sample 4/);
    spool.close();
  });

  it('where what is noted was changed', async () => {
    await filled(9);
    tamper('UPDATE progress SET last = 8');
    expectError(() => openSpool(), 'SPOOL_DAMAGED', /spool.db/);
  });

  it('where its end is missing: names the first sample that is not there', async () => {
    await filled(60, 1000);
    const { size } = await stat(file);
    await truncate(file, size - 8192);
    expectError(() => openSpool(), 'SPOOL_DAMAGED', /sample 5\d is damaged or gone/);
    await truncate(file, 5000);
    expectError(() => openSpool(), 'STORAGE_FAILED', /cannot be used as a spool/);
  });

  it('where its end was overwritten', async () => {
    await filled(60, 1000);
    const content = await readFile(file);
    content.fill(0x5a, content.length - 6000);
    await writeFile(file, content);
    const spool = openSpool();
    const readable = sequences(spool).length;
    expect(readable).toBeGreaterThan(40);
    expectError(
      () => spool.from(readable + 1, 1),
      'SPOOL_DAMAGED',
      new RegExp(`sample ${String(readable + 1)} is`),
    );
    spool.close();
  });
});

describe('a process that is killed', () => {
  // Pauses before the kill, from a seed: at any point of a put, an acknowledgement, the opening.
  const pauses = Array.from({ length: 4 }, (_, i) => ((i + 1) * 7919) % 31);

  it('loses nothing that was confirmed, and keeps the order', async () => {
    let before = 0;
    for (const pause of pauses) {
      const { confirmed, acknowledged } = await putUntilKilled(before + 12, pause);
      const spool = openSpool();
      expect(spool.last).toBeGreaterThanOrEqual(confirmed);
      expect(spool.acknowledged).toBeLessThanOrEqual(acknowledged);
      const kept = spool.from(1, 9999);
      expect(kept.map(({ sequence }) => sequence)).toEqual(
        Array.from({ length: spool.size }, (_, i) => spool.acknowledged + 1 + i),
      );
      for (const { sequence, bytes } of kept) expect(bytes).toEqual(Buffer.alloc(2000, sequence));
      before = spool.last;
      spool.close();
    }
    expect(before).toBeGreaterThanOrEqual(12 * pauses.length);
  });
});

/** Runs a process that puts and acknowledges, and kills it a while after it has confirmed a sample. */
async function putUntilKilled(
  through: number,
  pauseMs: number,
): Promise<{ confirmed: number; acknowledged: number }> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script()]);
  let confirmed = 0;
  let killing = false;
  for await (const line of createInterface({ input: child.stdout })) {
    confirmed = Number(line);
    if (confirmed < through || killing) continue;
    killing = true;
    setTimeout(() => child.kill('SIGKILL'), pauseMs);
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(child.signalCode).toBe('SIGKILL');
  // What it acknowledges follows what it puts; it may have gone on before it was killed.
  return { confirmed, acknowledged: confirmed + 1 };
}

/** A programme that puts sample after sample and prints the number of each that was confirmed. */
function script(): string {
  const built = (path: string): string =>
    JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
  return `
    import { Spool } from ${built('../dist/spool.js')};
    import { Secret } from ${built('../../common/dist/secret.js')};
    import { writeSync } from 'node:fs';
    const key = new Secret(Buffer.alloc(32, 7));
    const spool = Spool.open(${JSON.stringify(file)}, { key, patient: '${PATIENT}' });
    for (let sequence = spool.last + 1; ; sequence += 1) {
      await spool.put([{ sequence, bytes: Buffer.alloc(2000, sequence) }]);
      writeSync(1, sequence + '\\n');
      if (sequence % 7 === 0) spool.acknowledge(sequence - 5);
    }
  `;
}
