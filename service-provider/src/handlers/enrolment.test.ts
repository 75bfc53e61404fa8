import { Bcp } from '@duoveil/common/bcp';
import { systemClock } from '@duoveil/common/runtime';
import { Baseline, Output, Suite } from '@duoveil/proto';
import type { EnrolRequest } from '@duoveil/proto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import {
  callFrom,
  engine,
  Gate,
  memoryStore,
  PATIENT,
  testParameters,
  testPatient,
} from '../fixture.js';
import type { Patient, Store } from '../store/index.js';
import { enrol } from './enrolment.js';
import type { EnrolmentEnvironment } from './enrolment.js';

const bcp = new Bcp(await testParameters(), engine);
const { patient } = await testPatient(bcp);

let store: Store;
let environment: EnrolmentEnvironment;

beforeEach(async () => {
  store = await memoryStore(bcp.parameters);
  environment = { bcp, store, allowDistance: true, clock: systemClock };
});
afterEach(() => store.close());

function requestFor({ id, key, schema, policy }: Patient): EnrolRequest {
  return {
    patientId: id,
    parametersDigest: Buffer.from(bcp.parameters.digest, 'hex'),
    publicKey: { h: Buffer.from(key.publicKey) },
    proof: { commitment: Buffer.from(key.commitment), response: Buffer.from(key.response) },
    channels: schema.channels.map(({ min, max, ...others }) => ({
      ...others,
      minimum: min,
      maximum: max,
    })),
    policy: {
      window: policy.window,
      baseline: Baseline.FIXED,
      retrainEvery: 0,
      thresholdScaled: policy.thresholdScaled,
      higherThresholdsScaled: [...policy.higherThresholdsScaled],
      suite: Suite.REFERENCE,
      output: Output.DISTANCE,
    },
  };
}

/** Both of two calls look for the patient before either writes. */
function lookTogether(): void {
  const gate = new Gate();
  let looking = 0;
  const find = store.patients.find.bind(store.patients);
  vi.spyOn(store.patients, 'find').mockImplementation(async (id) => {
    const found = await find(id);
    looking += 1;
    if (looking === 2) gate.open();
    await gate.wait();
    return found;
  });
}

describe('enrolment', () => {
  it('writes the patient down as it was sent', async () => {
    await enrol(environment, requestFor(patient), callFrom(PATIENT));
    expect(await store.patients.find(PATIENT)).toEqual({
      ...patient,
      key: {
        publicKey: new Uint8Array(patient.key.publicKey),
        commitment: new Uint8Array(patient.key.commitment),
        response: new Uint8Array(patient.key.response),
      },
    });
  });

  it('of one patient, twice at the same time, is one', async () => {
    lookTogether();
    const request = requestFor(patient);
    await Promise.all([1, 2].map(() => enrol(environment, request, callFrom(PATIENT))));
    expect(await store.leases.free(10)).toEqual([PATIENT]);
  });

  it('of one patient, with two keys at the same time, is the first, and a conflict', async () => {
    const { patient: other } = await testPatient(bcp);
    lookTogether();
    const outcomes = await Promise.allSettled(
      [patient, other].map((one) => enrol(environment, requestFor(one), callFrom(PATIENT))),
    );
    const failures = outcomes.flatMap((one) =>
      one.status === 'rejected' ? [one.reason as unknown] : [],
    );
    expect(failures).toMatchObject([
      { code: 'PATIENT_CONFLICT', details: { field: 'public_key' } },
    ]);
    expect(await store.leases.free(10)).toEqual([PATIENT]);
  });
});
