import { Bcp } from '@duoveil/common/bcp';
import { silentLogger, systemClock, systemSleep } from '@duoveil/common/runtime';
import type { IngestResponse } from '@duoveil/proto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import {
  callFrom,
  engine,
  Gate,
  LEASE_MS,
  memoryStore,
  PATIENT,
  Sender,
  testParameters,
  testPatient,
} from '../fixture.js';
import { alarmPolicy } from '../alarms/policy.js';
import type { TestPatient } from '../fixture.js';
import { Monitors } from '../monitor/monitors.js';
import type { Store } from '../store/index.js';
import { ingest } from './ingest.js';
import type { IngestEnvironment } from './ingest.js';

const bcp = new Bcp(await testParameters(), engine);

let patient: TestPatient;
let store: Store;
let stop: AbortController;
let monitors: Monitors;
let handle: ReturnType<typeof ingest>;

beforeEach(async () => {
  patient = await testPatient(bcp);
  store = await memoryStore(bcp.parameters);
  await store.patients.keep(patient.patient, new Date());
  stop = new AbortController();
  monitors = new Monitors({
    store,
    alarms: alarmPolicy(),
    // Learning needs no protocol: the window is not full in these tests.
    suiteOf: () => ({
      ciphertextsPerSample: 2,
      train: () => Promise.reject(new Error('not here')),
      score: () => Promise.reject(new Error('not here')),
      sums: () => Promise.reject(new Error('not here')),
    }),
    clock: systemClock,
    sleep: systemSleep,
    logger: silentLogger(),
    leaseMs: LEASE_MS,
    stop: stop.signal,
  });
  await monitors.start();
  const environment: IngestEnvironment = { bcp, store, monitors, clock: systemClock };
  handle = ingest(environment);
});
afterEach(async () => {
  stop.abort();
  await monitors.stopped();
  await store.close();
});

const open = () =>
  ({
    $case: 'open',
    value: { patientId: PATIENT, parametersDigest: Buffer.from(bcp.parameters.digest, 'hex') },
  }) as const;

/** A stream that is handled, and what it is answered. */
function stream(signal?: AbortSignal) {
  const sender = new Sender();
  const answers: IngestResponse['message'][] = [];
  const send = ({ message }: IngestResponse): Promise<void> => {
    answers.push(message);
    return Promise.resolve();
  };
  const ended = handle(sender, send, callFrom(PATIENT, signal));
  ended.catch(() => undefined);
  const answered = async (count: number): Promise<void> => {
    await vi.waitUntil(() => answers.length >= count);
  };
  return { sender, answers, ended, answered };
}

describe('the intake of samples', () => {
  it('acknowledges what is on disk, and not before', async () => {
    const { sender, answers, answered, ended } = stream();
    sender.send(open());
    await answered(1);
    const serverTimeMs = expect.any(BigInt) as bigint;
    expect(answers).toEqual([{ $case: 'opened', value: { nextSequence: 1n, serverTimeMs } }]);

    const gate = new Gate();
    const append = store.samples.append.bind(store.samples);
    vi.spyOn(store.samples, 'append').mockImplementation(async (...parameters) => {
      await gate.wait();
      await append(...parameters);
    });
    const measuredAtMs = 1_767_225_600_250n;
    const sample = await patient.sample(1, [1n, 2n]);
    sender.send({ $case: 'sample', value: { ...sample, measuredAtMs } });
    await gate.reached;
    expect(answers).toHaveLength(1);
    gate.open();
    await answered(2);
    expect(answers[1]).toEqual({ $case: 'acknowledged', value: { sequence: 1n } });
    expect(await store.samples.last(PATIENT)).toBe(1);
    expect((await store.samples.times(PATIENT, 1))?.measuredAt).toEqual(
      new Date('2026-01-01T00:00:00.250Z'),
    );
    sender.end();
    await ended;
  });

  it('leaves nothing of a sample at the signal of its stream', async () => {
    // Node.js keeps a weak reference to every signal that was ever made from another one.
    const combined = vi.spyOn(AbortSignal, 'any');
    const { sender, answered, ended } = stream();
    sender.send(open());
    for (const sequence of [1, 2, 3]) {
      sender.send({ $case: 'sample', value: await patient.sample(sequence, [1n, 2n]) });
    }
    await answered(4);
    sender.end();
    await ended;
    expect(combined.mock.calls.length).toBeLessThanOrEqual(1);
  });

  it('refuses a time that is none', async () => {
    const { sender, answered, ended } = stream();
    sender.send(open());
    await answered(1);
    const measuredAtMs = 2n ** 63n;
    const sample = await patient.sample(1, [1n, 2n]);
    sender.send({ $case: 'sample', value: { ...sample, measuredAtMs } });
    await expect(ended).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
      details: { field: 'sample.measured_at_ms' },
    });
    expect(await store.samples.last(PATIENT)).toBe(0);
  });

  it('acknowledges nothing that could not be stored', async () => {
    const { sender, answers, answered, ended } = stream();
    sender.send(open());
    await answered(1);
    vi.spyOn(store.samples, 'append').mockRejectedValueOnce(new Error('disk'));
    sender.send({ $case: 'sample', value: await patient.sample(1, [1n, 2n]) });
    await expect(ended).rejects.toThrow('disk');
    expect(answers).toHaveLength(1);
    expect(await store.samples.last(PATIENT)).toBe(0);
  });

  it('lets a new stream begin behind the sample that an old one is storing', async () => {
    const old = stream();
    old.sender.send(open());
    await old.answered(1);
    const gate = new Gate();
    const append = store.samples.append.bind(store.samples);
    vi.spyOn(store.samples, 'append').mockImplementationOnce(async (...parameters) => {
      await gate.wait();
      await append(...parameters);
    });
    const first = await patient.sample(1, [1n, 2n]);
    old.sender.send({ $case: 'sample', value: first });
    await gate.reached;

    // The gateway has lost its connection meanwhile: nobody sees the acknowledgement.
    const newer = stream();
    newer.sender.send(open());
    const opened = newer.answered(1);
    await Promise.race([opened, new Promise(setImmediate)]);
    gate.open();
    await opened;
    // Whichever it is told to begin with, all that it sends is taken.
    const [answer] = newer.answers;
    if (answer?.$case !== 'opened') throw new Error('the stream was not opened');
    for (let sequence = Number(answer.value.nextSequence); sequence <= 3; sequence += 1) {
      const value = sequence === 1 ? first : await patient.sample(sequence, [1n, 2n]);
      newer.sender.send({ $case: 'sample', value });
    }
    newer.sender.end();
    await newer.ended;
    expect(await store.samples.last(PATIENT)).toBe(3);
    await expect(store.samples.digest(PATIENT, 1)).resolves.toBeDefined();
  });

  it('ends an old stream as soon as it sends again', async () => {
    const old = stream();
    old.sender.send(open());
    await old.answered(1);
    const newer = stream();
    newer.sender.send(open());
    await newer.answered(1);
    old.sender.send({ $case: 'sample', value: await patient.sample(1, [1n, 2n]) });
    await expect(old.ended).rejects.toMatchObject({ code: 'NOT_READY' });
    newer.sender.end();
    await newer.ended;
    expect(await store.samples.last(PATIENT)).toBe(0);
  });

  it('refuses the sequence number 0', async () => {
    const { sender, answered, ended } = stream();
    sender.send(open());
    await answered(1);
    sender.send({ $case: 'sample', value: await patient.sample(0, [1n, 2n]) });
    await expect(ended).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
      details: { field: 'sample.sequence' },
    });
  });
});
