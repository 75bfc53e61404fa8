import { Bcp, decodeCiphertexts, decrypt } from '@duoveil/common/bcp';
import { parsePatientId, silentLogger, systemClock, systemSleep } from '@duoveil/common/runtime';
import type { GetBaselineSamplesResponse } from '@duoveil/proto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { relearning } from '../alarms/book.js';
import { alarmPolicy } from '../alarms/policy.js';
import {
  callFrom,
  engine,
  LEASE_MS,
  leaseOf,
  memoryStore,
  PATIENT,
  policyOf,
  SCHEMA,
  testParameters,
  testPatient,
} from '../fixture.js';
import type { TestPatient } from '../fixture.js';
import { Monitors } from '../monitor/monitors.js';
import type { Lease, Outcome, Store } from '../store/index.js';
import { getBaselineSamples } from './baseline-samples.js';

const bcp = new Bcp(await testParameters(), engine);
const WINDOW = 4;
const AT = new Date('2026-01-01T00:00:00Z');

let store: Store;
let lease: Lease;
let monitors: Monitors;
let stop: AbortController;
beforeEach(async () => {
  store = await memoryStore(bcp.parameters);
  stop = new AbortController();
  const nobody = () => Promise.reject(new Error('not here'));
  monitors = new Monitors({
    store,
    alarms: alarmPolicy(),
    suiteOf: () => ({ ciphertextsPerSample: 2, train: nobody, score: nobody, sums: nobody }),
    clock: systemClock,
    sleep: systemSleep,
    logger: silentLogger(),
    leaseMs: LEASE_MS,
    stop: stop.signal,
  });
});
afterEach(async () => {
  stop.abort();
  await store.close();
});

async function enrolled(baseline: 'fixed' | 'rolling'): Promise<TestPatient> {
  const retrainEvery = baseline === 'rolling' ? 3 : 0;
  const policy = policyOf(SCHEMA, { window: WINDOW, baseline, retrainEvery });
  const patient = await testPatient(bcp, SCHEMA, policy);
  await store.patients.keep(patient.patient, AT);
  lease = await leaseOf(store);
  return patient;
}

const learning: Outcome = { kind: 'learning' };
const scored = (outlier: boolean): Outcome => ({
  ...{ kind: 'scored', outlier, statistic: { kind: 'level', level: Number(outlier) } },
  ...{ model: 1, latencyMs: 1 },
});

/** A sample that says its own number, with a decision where there is one. */
async function took(
  { encrypt }: TestPatient,
  sequence: number,
  outcome?: Outcome,
  keep = true,
): Promise<void> {
  const ciphertexts = await encrypt([BigInt(sequence), 7n]);
  const measuredAt = new Date(AT.getTime() + sequence);
  await store.samples.append(lease, { sequence, ciphertexts }, Buffer.alloc(32), AT, measuredAt);
  if (outcome === undefined) return;
  await store.decisions.insert(lease, { sequence, outcome }, keep, AT);
}

async function trained(number: number, throughSequence: number, oldest: number): Promise<void> {
  const model = { number, throughSequence, content: Buffer.alloc(4), trainMs: 1 };
  await store.models.insert(lease, model, oldest, AT);
}

async function asked(caller = PATIENT): Promise<GetBaselineSamplesResponse['part'][]> {
  const parts: GetBaselineSamplesResponse['part'][] = [];
  const request = { patientId: PATIENT };
  for await (const { part } of getBaselineSamples(
    { bcp, store, monitors },
    request,
    callFrom(caller),
  )) {
    parts.push(part);
  }
  return parts;
}

/** The numbers of the samples that are given, as they say themselves. */
async function given({ keys }: TestPatient): Promise<{ decided: bigint; numbers: bigint[] }> {
  const [extent, ...samples] = await asked();
  if (extent?.$case !== 'extent') throw new Error('the extent comes first');
  expect(extent.value.samples).toBe(samples.length);
  const numbers: bigint[] = [];
  for (const part of samples) {
    if (part?.$case !== 'sample') throw new Error('samples follow');
    const { ciphertexts, sequence, measuredAtMs } = part.value;
    const decoded = await decodeCiphertexts(ciphertexts, 'it', bcp.parameters, engine);
    const [number] = await decrypt(bcp, keys.secretKey, decoded.slice(0, 1));
    expect([sequence, measuredAtMs]).toEqual([number, BigInt(AT.getTime()) + sequence]);
    numbers.push(sequence);
  }
  return { decided: extent.value.decided, numbers };
}

describe('the samples that a baseline goes on from', () => {
  it('are those that a fixed one was trained on', async () => {
    const patient = await enrolled('fixed');
    for (const i of [1, 2, 3, 4, 5])
      await took(patient, i, i === 2 ? { kind: 'unscorable' } : learning);
    await trained(1, 5, 1);
    await took(patient, 6, scored(false), false);
    await took(patient, 7, scored(true), false);
    expect(await given(patient)).toEqual({ decided: 7n, numbers: [1n, 3n, 4n, 5n] });
  });

  it('are those of a rolling one’s last training, and those accepted since', async () => {
    const patient = await enrolled('rolling');
    for (const i of [1, 2, 3, 4]) await took(patient, i, learning);
    await trained(1, 4, 1);
    for (const i of [5, 6, 7, 8]) await took(patient, i, scored(i === 6));
    await trained(2, 8, 4);
    await took(patient, 9, scored(true));
    await took(patient, 10, scored(false));
    const numbers = [4n, 5n, 7n, 8n, 10n];
    expect(await given(patient)).toEqual({ decided: 10n, numbers });
  });

  it('are those accepted so far, where one is learnt, or learnt anew', async () => {
    const patient = await enrolled('rolling');
    expect(await given(patient)).toEqual({ decided: 0n, numbers: [] });
    for (const i of [1, 2]) await took(patient, i, learning);
    expect(await given(patient)).toEqual({ decided: 2n, numbers: [1n, 2n] });
    for (const i of [3, 4]) await took(patient, i, learning);
    await trained(1, 4, 1);
    await took(patient, 5, scored(false));
    await store.books.write(lease, (book) =>
      relearning(book, { after: 5, reason: 'operator', by: 'somebody', at: AT }),
    );
    await took(patient, 6, learning);
    expect(await given(patient)).toEqual({ decided: 6n, numbers: [6n] });
  });

  it('are not given while a sample waits for its decision, nor to anybody else', async () => {
    const patient = await enrolled('rolling');
    await took(patient, 1, learning);
    await took(patient, 2);
    await expect(asked()).rejects.toMatchObject({ code: 'NOT_READY' });
    await expect(asked(parsePatientId('patient-2', 'patient'))).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
  });
});
