import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { duoveilError, isDuoveilError } from '@duoveil/common/errors';
import type { ErrorCode } from '@duoveil/common/errors';
import { parsePatientId } from '@duoveil/common/runtime';
import { IngestRequest } from '@duoveil/proto';
import type { Sample } from '@duoveil/proto';
import Database from 'libsql';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { FAST, openTestSpool, PARAMETERS, PATIENT, TestBed } from './fixture.js';
import type { Spool, SpooledSample } from './spool.js';
import { runUplink } from './uplink.js';
import type { UplinkOptions } from './uplink.js';

let bed: TestBed;
let spool: Spool;
let stop: AbortController;
let uplink: Promise<unknown>;
beforeEach(async () => {
  bed = await TestBed.create();
  await bed.sp.start();
  spool = openTestSpool(bed.directory);
  stop = new AbortController();
  uplink = Promise.resolve();
});
afterEach(async () => {
  stop.abort(new Error('the test is over'));
  await uplink;
  spool.close();
  await bed.close();
});

/** Random bytes in them: two encryptions of a sample would differ. */
function sample(sequence: number): SpooledSample {
  const ciphertexts = [{ a: Buffer.from(FAST.random.bytes(16)), b: Buffer.from('b') }];
  const value: Sample = { sequence: BigInt(sequence), ciphertexts };
  return {
    sequence,
    bytes: IngestRequest.encode({ message: { $case: 'sample', value } }).finish(),
  };
}

const put = (from: number, to: number): Promise<void> =>
  spool.put(Array.from({ length: to - from + 1 }, (_, i) => sample(from + i)));

/** Begins; the result is what it ended with. */
async function begin(options: Partial<UplinkOptions> = {}): Promise<void> {
  const connection = options.connection ?? (await bed.connect());
  const parametersDigest = PARAMETERS.digest;
  uplink = runUplink(
    { ...FAST, connection, patient: PATIENT, parametersDigest, spool, ...options },
    stop.signal,
  ).catch((error: unknown) => error);
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i += 1) {
    if (i > 2000) throw new Error('it does not happen');
    await delay(5);
  }
}

async function expectEnd(code: ErrorCode): Promise<void> {
  const error = await uplink;
  if (!isDuoveilError(error)) throw error;
  expect(error.code).toBe(code);
}

/** Every sample arrived in the same bytes however often it was sent. */
function expectSameBytes(): void {
  for (const [sequence, bytes] of bed.sp.received) {
    expect(bytes).toEqual(bed.sp.stored.get(sequence));
  }
}

describe('runUplink', () => {
  it('sends what is spooled and what comes, and drops what is acknowledged', async () => {
    await put(1, 40);
    await begin();
    await until(() => spool.size === 0);
    await put(41, 50);
    await until(() => spool.size === 0);
    expect(bed.sp.received.map(([sequence]) => sequence)).toEqual(
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
  });

  it('connects again after the server vanished, and sends the same bytes again', async () => {
    bed.sp.onSample = async (sequence) => {
      if (sequence === 5) await delay(60_000, undefined, { ref: false });
    };
    await put(1, 10);
    await begin();
    await until(() => bed.sp.received.length === 5 && spool.acknowledged === 4);
    const vanishing = bed.sp.stop();
    await put(11, 12);
    await vanishing;
    bed.sp.onSample = () => undefined;
    await delay(100);
    await bed.sp.start();
    await until(() => spool.size === 0);
    expect(bed.sp.received.map(([sequence]) => sequence)).toEqual([
      1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11, 12,
    ]);
    expectSameBytes();
  });

  it('sends what comes before a damaged sample, and names that one', async () => {
    await put(1, 20);
    spool.close();
    const db = new Database(join(bed.directory, 'spool.db'));
    db.exec('DELETE FROM samples WHERE sequence = 18');
    db.close();
    spool = openTestSpool(bed.directory);
    await begin();
    await expectEnd('SPOOL_DAMAGED');
    expect(await uplink).toMatchObject({ details: { sequence: 18n } });
    const sent = bed.sp.received.map(([sequence]) => sequence);
    expect(sent).toEqual(Array.from({ length: sent.length }, (_, i) => i + 1));
    expect(sent.length).toBeLessThan(18);
  });

  it('waits for a server that is not there yet', async () => {
    const connection = await bed.connect();
    await bed.sp.stop();
    await put(1, 2);
    await begin({ connection });
    await delay(100);
    await bed.sp.start();
    await until(() => spool.size === 0);
  });

  it('starts after what the server has, also with a spool that is younger than the series', async () => {
    bed.sp.stored.set(1, Buffer.from('1')).set(2, Buffer.from('2'));
    let next = 0;
    await begin({
      onOpened: (value) => {
        next = value;
      },
    });
    await until(() => next > 0);
    expect([next, spool.last]).toEqual([3, 2]);
    await put(3, 3);
    await until(() => spool.size === 0);
    expect(bed.sp.received.map(([sequence]) => sequence)).toEqual([3]);
  });

  it('takes an acknowledgement more than once', async () => {
    bed.sp.acknowledgements = 3;
    await put(1, 20);
    await begin();
    await until(() => spool.size === 0);
    expect(bed.sp.received).toHaveLength(20);
    expect(bed.sp.opens).toBe(1);
  });

  it('gives up on a stream whose acknowledgements do not come, and tries another', async () => {
    bed.sp.onSample = async (sequence) => {
      if (sequence === 3 && bed.sp.opens === 1) await delay(60_000, undefined, { ref: false });
    };
    await put(1, 5);
    await begin({ progressTimeoutMs: 200 });
    await until(() => spool.size === 0);
    expect(bed.sp.opens).toBe(2);
    expectSameBytes();
    // Nothing is awaited now: no stream is given up.
    await delay(400);
    expect(bed.sp.opens).toBe(2);
  });

  it('gives up on a stream that does not open', async () => {
    bed.sp.onOpen = async () => {
      if (bed.sp.opens === 1) await delay(60_000, undefined, { ref: false });
    };
    await put(1, 1);
    await begin({ openTimeoutMs: 200 });
    await until(() => spool.size === 0);
    expect(bed.sp.opens).toBe(2);
  });

  it.each(['NOT_READY', 'STORAGE_FULL'] as const)('tries again after %s', async (code) => {
    bed.sp.onOpen = () => {
      if (bed.sp.opens <= 3) throw duoveilError(code, 'later');
    };
    await put(1, 1);
    await begin();
    await until(() => spool.size === 0);
    expect(bed.sp.opens).toBe(4);
  });

  it.each(['PATIENT_NOT_ENROLLED', 'PERMISSION_DENIED'] as const)('ends with %s', async (code) => {
    bed.sp.onOpen = () => {
      throw duoveilError(code, 'no');
    };
    await begin();
    await expectEnd(code);
    expect(bed.sp.opens).toBe(1);
  });

  it('sends the same bytes again where the server has lost what it acknowledged', async () => {
    await put(1, 20);
    await begin();
    await until(() => spool.size === 0);
    for (let sequence = 8; sequence <= 20; sequence += 1) bed.sp.stored.delete(sequence);
    const before = bed.sp.received.length;
    await bed.sp.stop();
    await put(21, 22);
    await bed.sp.start();
    await until(() => spool.last === 22 && spool.size === 0);
    const again = bed.sp.received.slice(before).map(([sequence]) => sequence);
    expect(again).toEqual(Array.from({ length: 15 }, (_, i) => 8 + i));
    for (const [sequence, bytes] of bed.sp.received.slice(0, before)) {
      expect(bytes).toEqual(bed.sp.stored.get(sequence));
    }
  });

  it('ends where the server has lost what is not kept here any more', async () => {
    spool.close();
    spool = openTestSpool(bed.directory, { keepSamples: 3 });
    await put(1, 8);
    await begin();
    await until(() => spool.size === 0);
    await put(9, 9);
    await until(() => spool.size === 0);
    expect(spool.oldest).toBe(6);
    for (let sequence = 5; sequence <= 9; sequence += 1) bed.sp.stored.delete(sequence);
    await bed.sp.stop();
    await bed.sp.start();
    await expectEnd('SEQUENCE_GAP');
    const error = (await uplink) as Error;
    expect(error.message).toMatch(
      /expects sample 5, but has acknowledged all up to 9, and the oldest that is kept here is 6: .*restore a newer backup/,
    );
  });

  it('ends where somebody else sends for the same patient', async () => {
    await put(1, 2);
    await begin();
    await until(() => spool.size === 0);
    bed.sp.stored.set(3, Buffer.from('foreign'));
    await bed.sp.stop();
    await bed.sp.start();
    await expectEnd('SEQUENCE_CONFLICT');
  });

  it('ends where a sample of the same number was another one', async () => {
    bed.sp.stored.set(1, Buffer.from('another'));
    bed.sp.statedNext = 1;
    await put(1, 1);
    await begin();
    await expectEnd('SEQUENCE_CONFLICT');
  });

  it('is refused for a patient that its certificate does not name', async () => {
    await begin({ patient: parsePatientId('patient-2', 'patient') });
    await expectEnd('PERMISSION_DENIED');
  });

  it('refuses an acknowledgement of what was not sent, and a number that is none', async () => {
    bed.sp.statedNext = 0;
    await begin();
    await expectEnd('PEER_MISBEHAVED');
  });

  it('ends when it is told to', async () => {
    await begin();
    await until(() => bed.sp.opens === 1);
    stop.abort(new Error('enough'));
    expect(await uplink).toEqual(new Error('enough'));
  });
});
