import { getEventListeners } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { isDuoveilError } from '@duoveil/common/errors';
import type { ErrorCode } from '@duoveil/common/errors';
import { writeCredentials } from '@duoveil/common/runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { PARAMETERS, PATIENT, TestBed } from '../fixture.js';
import { connect } from './gateway.js';
import type { ConnectOptions, Decision, EnrolmentOptions, Gateway } from './gateway.js';

const ENROLMENT: EnrolmentOptions = {
  parametersDigest: PARAMETERS.digest,
  insecureKeyBits: true,
  channels: ['HR', 'SpO2'],
  window: 4,
  suite: 'reference',
};

let bed: TestBed;
let options: ConnectOptions;
let gateway: Gateway;
beforeEach(async () => {
  bed = await TestBed.create();
  await bed.sp.start();
  const tls = join(bed.directory, 'tls');
  await writeCredentials(tls, await bed.credentials());
  const keyFile = join(bed.directory, 'sealing.key');
  await writeFile(keyFile, Buffer.alloc(32, 7));
  const state = join(bed.directory, 'state');
  options = { sp: bed.sp.address, tls, state, keyFile, engine: 'portable', logLevel: 'error' };
  gateway = await connect(options);
});
afterEach(async () => {
  await gateway.close();
  await bed.close();
});

const sendRows = async (count: number): Promise<number[]> =>
  Promise.all(
    Array.from({ length: count }, (_, i) => gateway.send({ values: { HR: 60 + i, SpO2: 97 } })),
  );

async function take(count: number, from?: number): Promise<Decision[]> {
  const decisions: Decision[] = [];
  for await (const decision of gateway.decisions({ from })) {
    decisions.push(decision);
    if (decisions.length === count) break;
  }
  return decisions;
}

async function expectRefusal(work: Promise<unknown>, code: ErrorCode, message: RegExp) {
  const error: unknown = await work.catch((thrown: unknown) => thrown);
  if (!isDuoveilError(error)) throw new Error('it was not refused', { cause: error });
  expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
}

describe('the gateway as a library', () => {
  it('enrols, sends in order, and tells each decision once', async () => {
    expect(gateway.patient).toBe(PATIENT);
    await gateway.enrol(ENROLMENT);
    await gateway.enrol(ENROLMENT);
    expect(await sendRows(12)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    await gateway.delivered();
    expect([...bed.sp.stored.keys()]).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    const decisions = await take(10);
    expect(decisions.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(decisions[0]).toEqual({ sequence: 1, kind: 'learning' });
    expect(decisions[9]).toMatchObject({ kind: 'scored', outlier: true });
    expect(await take(1, 11)).toMatchObject([{ sequence: 11 }]);
  });

  it('leaves nothing on the signal that would have ended the telling', async () => {
    await gateway.enrol(ENROLMENT);
    await sendRows(1);
    const { signal } = new AbortController();
    const listening = (): number => getEventListeners(signal, 'abort').length;
    for await (const { sequence } of gateway.decisions({ signal })) {
      expect([sequence, listening()]).toEqual([1, 1]);
      break;
    }
    expect(listening()).toBe(0);
  });

  it('sends what an earlier one left, and goes on behind it', async () => {
    await gateway.enrol(ENROLMENT);
    await sendRows(3);
    await gateway.delivered();
    await bed.sp.stop();
    // Nobody is there: on disk all the same.
    expect(await gateway.send({ values: { HR: 70, SpO2: 96 } })).toBe(4);
    await gateway.close();
    await bed.sp.start();
    gateway = await connect({ ...options, sp: bed.sp.address });
    expect(await gateway.send({ values: { HR: 71, SpO2: 96 } })).toBe(5);
    await gateway.delivered();
    expect([...bed.sp.stored.keys()]).toEqual([1, 2, 3, 4, 5]);
  });

  it('refuses a sample that is not complete, or out of order by its time, and takes the next', async () => {
    await gateway.enrol(ENROLMENT);
    const measuredAt = new Date('2026-01-01T00:00:10Z');
    const values = { HR: 70, SpO2: 96 };
    await gateway.send({ values, measuredAt });
    await expectRefusal(gateway.send({ values: { HR: 70 } }), 'INPUT_INVALID', /SpO2 is missing/);
    await expectRefusal(
      gateway.send({ values: { HR: 70, SpO2: Number.NaN } }),
      'INPUT_INVALID',
      /SpO2 is missing/,
    );
    await expectRefusal(gateway.send({ values, measuredAt }), 'INPUT_INVALID', /must be later/);
    const never = new Date(Number.NaN);
    await expectRefusal(gateway.send({ values, measuredAt: never }), 'INPUT_INVALID', /no time/);
    const later = new Date(measuredAt.getTime() + 1000);
    expect(await gateway.send({ values, measuredAt: later })).toBe(2);
    await gateway.delivered();
    expect(bed.sp.stored.size).toBe(2);
  });

  it('says what is wrong before anything is sent', async () => {
    await expectRefusal(gateway.send({ values: {} }), 'CONFIG_INVALID', /gateway enrol" first/);
    await expectRefusal(connect({ ...options, keyFile: undefined }), 'OPTION_INVALID', /not none/);
    await expectRefusal(connect({ ...options, tls: '/none' }), 'CONFIG_INVALID', /no such file/);
    await gateway.enrol(ENROLMENT);
    const other = { ...ENROLMENT, window: 5 };
    await expectRefusal(gateway.enrol(other), 'PATIENT_CONFLICT', /window/);
    const wrong = join(bed.directory, 'wrong.key');
    await writeFile(wrong, Buffer.alloc(32, 8));
    await using second = await connect({ ...options, keyFile: wrong });
    await expectRefusal(second.send({ values: {} }), 'UNSEALING_FAILED', /wrong secret/);
    await expectRefusal(second.statistics(), 'UNSEALING_FAILED', /wrong secret/);
    expect(bed.sp.received).toEqual([]);
  });

  it('sends again what a restored service provider lacks, and tells each decision once', async () => {
    await gateway.enrol(ENROLMENT);
    await sendRows(8);
    await gateway.delivered();
    const decisions = gateway.decisions();
    const told: unknown[] = [];
    const hear = async (count: number): Promise<void> => {
      while (told.length < count) told.push((await decisions.next()).value?.sequence);
    };
    await hear(8);
    for (let sequence = 4; sequence <= 8; sequence += 1) bed.sp.stored.delete(sequence);
    await bed.sp.stop();
    const sent = gateway.send({ values: { HR: 70, SpO2: 96 } });
    await bed.sp.start();
    expect(await sent).toBe(9);
    await hear(9);
    await gateway.delivered();
    await decisions.return();
    expect(told).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect([...bed.sp.stored.keys()]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // From the next process's spool, too.
    await gateway.close();
    bed.sp.stored.clear();
    gateway = await connect(options);
    await gateway.send({ values: { HR: 71, SpO2: 96 } });
    await gateway.delivered();
    expect(bed.sp.stored.size).toBe(10);
  });

  it('fails where the stream has ended for good, and says why', async () => {
    await gateway.enrol(ENROLMENT);
    await sendRows(2);
    await gateway.delivered();
    bed.sp.stored.clear();
    // The service provider has lost what it had acknowledged, and it is not kept.
    await bed.sp.stop();
    await gateway.close();
    await bed.sp.start();
    gateway = await connect({ ...options, sp: bed.sp.address, spoolKeepSamples: 0 });
    const values = { HR: 70, SpO2: 96 };
    const sent = gateway.send({ values }).then(() => gateway.delivered());
    await expectRefusal(sent, 'SEQUENCE_GAP', /has lost samples/);
    await expectRefusal(gateway.send({ values: {} }), 'SEQUENCE_GAP', /has lost samples/);
  });

  it('ends what waits when it is closed', async () => {
    await gateway.enrol(ENROLMENT);
    await bed.sp.stop();
    const sending = gateway.send({ values: { HR: 70, SpO2: 96 } });
    const decisions = take(1);
    // The first sample of a series waits until it is known where the series stands.
    const refused = expectRefusal(sending, 'NOT_READY', /was closed/);
    await gateway.close();
    await refused;
    expect(await decisions).toEqual([]);
    await expectRefusal(gateway.send({ values: {} }), 'NOT_READY', /was closed/);
  });
});
