/** What a service provider makes of gateways that do not keep to the rules. */
import { setMaxListeners } from 'node:events';

import { isOutlier, scaleOf, toNumber } from '@duoveil/common/encoding';
import type { Schema } from '@duoveil/common/encoding';
import type { ErrorCode } from '@duoveil/common/errors';
import { bytesFromInteger, integerFromBytes } from '@duoveil/common/random';
import { callServerStream, linkedAbort, parsePatientId } from '@duoveil/common/runtime';
import {
  Baseline,
  IngestRequest,
  MonitoringServiceService as Monitoring,
  Output,
  Suite,
} from '@duoveil/proto';
import type { EnrolRequest, Sample } from '@duoveil/proto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { scoreExact, trainExact } from '../src/oracle/index.js';
import { Deployment, engine, identity, PATIENT } from './support/deployment.js';
import { HandMadeGateway, POLICY, policyOf, SCHEMA } from './support/hand-made.js';
import type { IngestStream } from './support/hand-made.js';

let deployment: Deployment;
let gateway: HandMadeGateway;
/** The good samples that were acknowledged, by their sequence number. */
const series = new Map<bigint, readonly bigint[]>();

beforeAll(async () => {
  deployment = await Deployment.start();
  gateway = await newGateway(PATIENT);
  await gateway.enrol();
});
afterAll(() => deployment.close());

async function newGateway(patient: string): Promise<HandMadeGateway> {
  const id = parsePatientId(patient, 'patient');
  const connection = await deployment.connect('sp', identity('gateway', id));
  return HandMadeGateway.create(connection, await deployment.bcp(), id);
}

/** A patient at rest. */
const calm = (sequence: bigint): bigint[] => [
  600n + ((sequence * 7n) % 13n),
  660n + (sequence % 5n),
];

/** A good gateway goes on: what it sends is taken, and what came before was not. */
async function expectToGoOn(): Promise<void> {
  const { stream, next } = await gateway.open();
  expect(next).toBe(BigInt(series.size) + 1n);
  await stream.sendSample(await gateway.sample(next, calm(next)));
  expect(await stream.next()).toEqual({ $case: 'acknowledged', value: { sequence: next } });
  series.set(next, calm(next));
  stream.cancel();
}

describe('a stream', () => {
  /** What is sent, given the sequence number that is expected. */
  type Attack = (stream: IngestStream, next: bigint) => Promise<void>;
  const sample = (sequence: bigint | number): Promise<Sample> =>
    gateway.sample(sequence, [600n, 660n]);

  const unopened: Readonly<Record<string, readonly [Attack, ErrorCode]>> = {
    'that begins with a sample': [
      async (stream, next) => stream.sendSample(await sample(next)),
      'MESSAGE_INVALID',
    ],
    'that begins with an empty message': [
      (stream) => stream.send(new Uint8Array()),
      'MESSAGE_INVALID',
    ],
    'for other parameters': [
      (stream) => stream.send(gateway.opening(PATIENT, 'ab'.repeat(32))),
      'PARAMETERS_MISMATCH',
    ],
    'for a part of the parameters': [
      (stream) => stream.send(gateway.opening(PATIENT, gateway.bcp.parameters.digest.slice(2))),
      'PARAMETERS_MISMATCH',
    ],
    'for a patient whose name is none': [
      (stream) => stream.send(gateway.opening('../patient-1')),
      'MESSAGE_INVALID',
    ],
    'that is no message': [
      (stream) => stream.send(Buffer.from('0affffffff0f', 'hex')),
      'MESSAGE_INVALID',
    ],
    'that is too large': [
      (stream) => stream.send(Buffer.alloc(2 * 1024 * 1024)),
      'MESSAGE_TOO_LARGE',
    ],
  };

  test.each(Object.entries(unopened))('%s is refused', async (_, [attack, code]) => {
    const stream = gateway.ingest();
    await attack(stream, BigInt(series.size) + 1n);
    await expect(stream.next()).rejects.toMatchObject({ code });
    await expectToGoOn();
  });

  test('for a patient who is not enrolled is refused', async () => {
    const stranger = await newGateway('stranger');
    await expect(stranger.open()).rejects.toMatchObject({ code: 'PATIENT_NOT_ENROLLED' });
    await expect(stranger.watch(1)).rejects.toMatchObject({ code: 'PATIENT_NOT_ENROLLED' });
    await expectToGoOn();
  });

  const opened: Readonly<Record<string, readonly [Attack, object]>> = {
    'that opens again': [
      (stream) => stream.send(gateway.opening()),
      { code: 'MESSAGE_INVALID', details: { field: 'message' } },
    ],
    'with the sequence number 0': [
      async (stream) => stream.sendSample(await sample(0)),
      { code: 'MESSAGE_INVALID', details: { field: 'sample.sequence' } },
    ],
    'that skips a sample': [
      async (stream, next) => stream.sendSample(await sample(next + 1n)),
      { code: 'SEQUENCE_GAP' },
    ],
    'with the sequence number 2^53': [
      async (stream) => stream.sendSample(await sample(2n ** 53n)),
      { code: 'SEQUENCE_GAP' },
    ],
    'with the sequence number 2^64 - 1': [
      async (stream) => stream.sendSample(await sample(2n ** 64n - 1n)),
      { code: 'SEQUENCE_GAP' },
    ],
    'with another sample under an old number': [
      async (stream, next) => stream.sendSample(await sample(next - 1n)),
      { code: 'SEQUENCE_CONFLICT' },
    ],
    'with half a message': [
      async (stream, next) => {
        const value = await sample(next);
        const bytes = IngestRequest.encode({ message: { $case: 'sample', value } }).finish();
        await stream.send(bytes.subarray(0, bytes.length / 2));
      },
      { code: 'MESSAGE_INVALID', details: { field: 'message' } },
    ],
    'with a message that is too large': [
      async (stream, next) => {
        const value = await sample(next);
        const ciphertexts = Array.from({ length: 8192 }, () => value.ciphertexts[0] ?? never());
        await stream.sendSample({ ...value, ciphertexts });
      },
      { code: 'MESSAGE_TOO_LARGE' },
    ],
    ...Object.fromEntries(
      [0, 1, 3].map((count) => [
        `with ${count} ciphertexts where 2 are right`,
        [
          async (stream: IngestStream, next: bigint) => {
            const { sequence, ciphertexts } = await sample(next);
            const more = [...ciphertexts, ...ciphertexts].slice(0, count);
            await stream.sendSample({ sequence, ciphertexts: more });
          },
          { code: 'MESSAGE_INVALID', details: { field: 'sample.ciphertexts' } },
        ],
      ]),
    ),
  };

  test.each(Object.entries(opened))('%s is refused', async (_, [attack, error]) => {
    const { stream, next } = await gateway.open();
    await attack(stream, next);
    await expect(stream.next()).rejects.toMatchObject(error);
    await expectToGoOn();
  });

  test('that leaves a gap is told what comes next', async () => {
    const { stream, next } = await gateway.open();
    await stream.sendSample(await sample(next + 7n));
    await expect(stream.next()).rejects.toMatchObject({ details: { expected: next } });
  });

  test('that repeats a sample is told so again, and the sample counts once', async () => {
    await expectToGoOn();
    const { stream, next } = await gateway.open();
    const twice = await gateway.sample(next, calm(next));
    const acknowledged = { $case: 'acknowledged', value: { sequence: next } };
    for (let i = 0; i < 3; i += 1) {
      await stream.sendSample(twice);
      expect(await stream.next()).toEqual(acknowledged);
    }
    series.set(next, calm(next));
    stream.cancel();
    const { stream: another } = await gateway.open();
    await another.sendSample(twice);
    expect(await another.next()).toEqual(acknowledged);
    await another.sendSample(await gateway.sample(next, calm(next)));
    await expect(another.next()).rejects.toMatchObject({
      code: 'SEQUENCE_CONFLICT',
      details: { sequence: next },
    });
    await expectToGoOn();
  });

  test('that was taken over by a newer one is ended', async () => {
    const { stream: old } = await gateway.open();
    const { stream: newer, next } = await gateway.open();
    await old.sendSample(await sample(next));
    await expect(old.next()).rejects.toMatchObject({ code: 'NOT_READY' });
    newer.cancel();
    await expectToGoOn();
  });
});

describe('a ciphertext', () => {
  type Spoil = (good: Buffer) => Promise<Buffer> | Buffer;
  const widen = (value: bigint): Buffer =>
    bytesFromInteger(value, gateway.bcp.parameters.elementBytes);
  const wrong: Readonly<Record<string, Spoil>> = {
    'of 0': () => widen(0n),
    'of N²': () => widen(gateway.bcp.parameters.modulusSquared),
    'of N² + 1': () => widen(gateway.bcp.parameters.modulusSquared + 1n),
    'of the largest number of its width': (good) => Buffer.alloc(good.length, 0xff),
    'of N': () => widen(gateway.bcp.parameters.modulus),
    'of a multiple of p': async (good) => {
      const { p } = (await deployment.masterKey()).factors.reveal();
      return widen((integerFromBytes(good) * p) % gateway.bcp.parameters.modulusSquared);
    },
    'of a multiple of q': async () => widen((await deployment.masterKey()).factors.reveal().q),
    'of Jacobi symbol -1': async (good) => {
      const { modulus, modulusSquared } = gateway.bcp.parameters;
      const candidates = Array.from({ length: 64 }, (_, i) => BigInt(i + 2));
      const symbols = await engine.jacobi(candidates, modulus);
      const factor = candidates[symbols.indexOf(-1)] ?? never();
      return widen((integerFromBytes(good) * factor) % modulusSquared);
    },
    'that is too short': (good) => good.subarray(1),
    'that is too long': (good) => Buffer.concat([Buffer.alloc(1), good]),
    'of no bytes': () => Buffer.alloc(0),
  };
  const components = ['a', 'b'] as const;

  test.each(Object.entries(wrong))('%s is refused, in either component', async (_, spoil) => {
    for (const component of components) {
      const { stream, next } = await gateway.open();
      const { sequence, ciphertexts } = await gateway.sample(next, calm(next));
      const [first = never(), second = never()] = ciphertexts;
      const spoilt = { ...second, [component]: await spoil(second[component]) };
      await stream.sendSample({ sequence, ciphertexts: [first, spoilt] });
      await expect(stream.next()).rejects.toMatchObject({
        code: 'CIPHERTEXT_INVALID',
        details: { field: `sample.ciphertexts[1].${component}` },
      });
    }
    await expectToGoOn();
  });
});

describe('a plaintext that is no sample', () => {
  async function power(base: bigint, exponent: bigint, modulus: bigint): Promise<bigint> {
    const [result = never()] = await engine.ring(modulus).powers([{ base, exponent }]);
    return result;
  }

  async function inverse(value: bigint, modulus: bigint): Promise<bigint> {
    const [result = never()] = await engine.ring(modulus).inverses([value % modulus]);
    return result;
  }

  /** `√t mod N` where there is one: the primes are 3 modulo 4. */
  async function squareRoot(t: bigint): Promise<bigint | undefined> {
    const { p, q } = (await deployment.masterKey()).factors.reveal();
    const atP = await power(t % p, (p + 1n) / 4n, p);
    const atQ = await power(t % q, (q + 1n) / 4n, q);
    const root = gateway.bcp.reduce((atP - atQ) * (await inverse(q, p)) * q + atQ);
    return gateway.bcp.reduce(root * root - t) === 0n ? root : undefined;
  }

  /** A "sample" whose squared distance is a small negative number. */
  async function impossible(): Promise<bigint[]> {
    const { bcp } = gateway;
    const N = bcp.parameters.modulus;
    const window = [1n, 2n, 3n, 4n, 5n].map((sequence) => series.get(sequence) ?? never());
    const { sum, scaledCovariance } = trainExact(window, floors());
    // With d = n·x - s, MD² = (n-1)/n·dᵀ adj(V) d / det V; here only d₁ is not 0.
    const { adjugate, determinant } = scaledCovariance;
    const factor = await inverse(4n * (adjugate[0]?.[0] ?? never()), N);
    const fifth = await inverse(5n, N);
    for (let c = 1n; ; c += 1n) {
      const d = await squareRoot(bcp.reduce(-c * 5n * determinant * factor));
      if (d === undefined) continue;
      return sum.map((s, j) => bcp.reduce((s + (j === 0 ? d : 0n)) * fifth));
    }
  }

  const floors = (): bigint[] => SCHEMA.channels.map((channel) => scaleOf(channel).F);

  const plaintexts: Readonly<Record<string, () => Promise<bigint[]> | bigint[]>> = {
    'far out of range': () => [600n, 3n ** 200n],
    'just below the modulus in all its parts': () => {
      const { modulus } = gateway.bcp.parameters;
      return [modulus - 5n ** 100n, modulus - 7n ** 80n];
    },
    'whose distance would be negative': impossible,
  };

  test.each(Object.entries(plaintexts))(
    '%s is unscorable, and the next one is not',
    async (_, make) => {
      while (series.size < 6) await expectToGoOn();
      const { stream, next } = await gateway.open();
      const values = await make();
      await stream.sendSample(await gateway.sample(next, values));
      expect(await stream.next()).toMatchObject({ $case: 'acknowledged' });
      series.set(next, values);
      stream.cancel();
      await expectToGoOn();
      const [decision] = await gateway.watch(Number(next), Number(next));
      expect(decision).toEqual({
        $case: 'decision',
        value: { sequence: next, outcome: { $case: 'unscorable', value: {} } },
      });
    },
  );
});

describe('in the end', () => {
  test('every good sample was decided on, once, and right', async () => {
    const last = series.size;
    const events = await gateway.watch(last);
    const decisions = events.flatMap((event) => (event.$case === 'decision' ? [event.value] : []));
    expect(events.filter(({ $case }) => $case === 'trained')).toHaveLength(1);
    expect(decisions.map(({ sequence }) => sequence)).toEqual([...series.keys()]);
    const window = [...series.values()].slice(0, 5);
    const model = trainExact(
      window,
      SCHEMA.channels.map((channel) => scaleOf(channel).F),
    );
    for (const { sequence, outcome } of decisions) {
      const values = series.get(sequence) ?? never();
      if (sequence <= 5n) expect(outcome).toEqual({ $case: 'learning', value: {} });
      else if (values.some((value) => value > 10_000n)) expect(outcome?.$case).toBe('unscorable');
      else {
        const exact = scoreExact(model, values);
        expect(outcome).toMatchObject({
          $case: 'scored',
          value: {
            outlier: isOutlier(exact, POLICY.thresholdScaled),
            statistic: { $case: 'squaredDistance', value: toNumber(exact) },
          },
        });
      }
    }
  });

  test('a place to watch from that is none is refused', async () => {
    await expect(gateway.watch(1, 0)).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
  });
});

describe('an enrolment', () => {
  const refused = async (
    patient: HandMadeGateway,
    change: Partial<EnrolRequest>,
  ): Promise<unknown> =>
    patient.enrol({ ...patient.enrolment(), ...change }).then(
      () => 'accepted',
      (error: unknown) => error,
    );

  test('is accepted again, also at the same time', async () => {
    const patient = await newGateway('again');
    await Promise.all(Array.from({ length: 8 }, () => patient.enrol()));
    await patient.enrol();
    await gateway.enrol();
    expect((await patient.open()).next).toBe(1n);
    // Nobody is enrolled twice, and what has been sent is still there.
    expect((await gateway.open()).next).toBe(BigInt(series.size) + 1n);
  });

  test('with another key, schema or policy is a conflict, and changes nothing', async () => {
    const another = await newGateway(PATIENT);
    const { channels } = gateway.enrolment();
    const policy = { ...(gateway.enrolment().policy ?? never()) };
    const conflicts: readonly (readonly [Partial<EnrolRequest>, string])[] = [
      [
        { publicKey: another.enrolment().publicKey, proof: another.enrolment().proof },
        'public_key',
      ],
      [{ channels: [...channels].reverse() }, 'channels'],
      [{ channels: [...channels, { ...(channels[0] ?? never()), name: 'X' }] }, 'channels'],
      [{ policy: { ...policy, window: 6 } }, 'policy'],
      [{ policy: { ...policy, thresholdScaled: policy.thresholdScaled + 1n } }, 'policy'],
      [{ policy: { ...policy, baseline: Baseline.ROLLING, retrainEvery: 2 } }, 'policy'],
    ];
    for (const [change, field] of conflicts) {
      expect(await refused(gateway, change)).toMatchObject({
        code: 'PATIENT_CONFLICT',
        details: { field },
      });
    }
    await gateway.enrol();
    await expectToGoOn();
  });

  test('with a proof that is not of this key, this patient or these parameters is refused', async () => {
    const patient = await newGateway('proof');
    const other = await newGateway('other');
    const good = patient.enrolment();
    const proof = good.proof ?? never();
    const one = bytesFromInteger(1n, gateway.bcp.parameters.elementBytes);
    const changes: Partial<EnrolRequest>[] = [
      { publicKey: other.enrolment().publicKey },
      { proof: other.enrolment().proof },
      { publicKey: other.enrolment().publicKey, proof: other.enrolment().proof },
      { publicKey: { h: one } },
      { publicKey: { h: Buffer.alloc(0) } },
      { proof: { ...proof, response: proof.response.subarray(1) } },
      { proof: { ...proof, response: Buffer.alloc(proof.response.length) } },
      { proof: { ...proof, commitment: one } },
    ];
    for (const change of changes) {
      expect(await refused(patient, change)).toMatchObject({ code: 'KEY_INVALID' });
    }
    expect(await refused(patient, { parametersDigest: Buffer.alloc(32) })).toMatchObject({
      code: 'PARAMETERS_MISMATCH',
      details: { expected: gateway.bcp.parameters.digest },
    });
    expect(await refused(patient, { parametersDigest: Buffer.alloc(600, 1) })).toMatchObject({
      code: 'PARAMETERS_MISMATCH',
    });
    for (const [missing, field] of [
      [{ proof: undefined }, 'proof'],
      [{ publicKey: undefined }, 'public_key'],
      [{ policy: undefined }, 'policy'],
    ] as const) {
      expect(await refused(patient, missing)).toMatchObject({
        code: 'MESSAGE_INVALID',
        details: { field },
      });
    }
    await expect(patient.open()).rejects.toMatchObject({ code: 'PATIENT_NOT_ENROLLED' });
  });

  test('with a schema or a policy out of bounds is refused, and the field is named', async () => {
    const patient = await newGateway('bounds');
    const { channels, policy: good = never() } = patient.enrolment();
    const [first = never(), second = never()] = channels;
    const changes: readonly (readonly [Partial<EnrolRequest>, string])[] = [
      [{ channels: [] }, 'channels'],
      [
        { channels: Array.from({ length: 9 }, (_, i) => ({ ...first, name: `C${i}` })) },
        'channels',
      ],
      [{ channels: [first, first] }, 'channels[1].name'],
      [{ channels: [{ ...first, name: '' }, second] }, 'channels[0].name'],
      [{ channels: [{ ...first, minimum: 'low' }, second] }, 'channels[0].min'],
      [{ channels: [{ ...first, maximum: first.minimum }, second] }, 'channels[0].max'],
      [{ channels: [{ ...first, resolution: '0' }, second] }, 'channels[0].resolution'],
      [{ channels: [{ ...first, resolution: '0.00001' }, second] }, 'channels[0].resolution'],
      [{ channels: [{ ...first, noiseFloor: '0' }, second] }, 'channels[0].noiseFloor'],
      [{ channels: [first, { ...second, noiseFloor: '-1' }] }, 'channels[1].noiseFloor'],
      [{ policy: { ...good, window: 3 } }, 'window'],
      [{ policy: { ...good, window: 4097 } }, 'window'],
      [{ policy: { ...good, thresholdScaled: 0n } }, 'thresholdScaled'],
      [{ policy: { ...good, thresholdScaled: 2n ** 64n - 1n } }, 'thresholdScaled'],
      [{ policy: { ...good, baseline: Baseline.UNSPECIFIED } }, 'baseline'],
      [{ policy: { ...good, baseline: Baseline.ROLLING, retrainEvery: 0 } }, 'retrainEvery'],
      [{ policy: { ...good, suite: Suite.UNSPECIFIED } }, 'suite'],
      [{ policy: { ...good, output: Output.UNSPECIFIED } }, 'output'],
      [{ policy: { ...good, output: Output.LEVEL } }, 'output'],
    ];
    for (const [change, field] of changes) {
      expect(await refused(patient, change)).toMatchObject({
        code: 'SCHEMA_INVALID',
        details: { field },
      });
    }
    await expect(patient.open()).rejects.toMatchObject({ code: 'PATIENT_NOT_ENROLLED' });
    await patient.enrol();
  });

  test('that does not fit the modulus is refused, and told which would', async () => {
    const patient = await newGateway('wide');
    const wide: Schema = {
      channels: Array.from({ length: 8 }, (_, i) => ({
        name: `C${i}`,
        unit: '',
        min: '0',
        max: '65535',
        resolution: '1',
        noiseFloor: '1',
        loinc: '',
      })),
    };
    const request = patient.enrolment(wide, policyOf(wide, { window: 20 }));
    const error: unknown = await patient.enrol(request).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'BOUNDS_EXCEEDED' });
    const { sufficientBits } = (error as { details: { sufficientBits: number } }).details;
    expect(sufficientBits).toBeGreaterThan(512);
    expect((error as Error).message).toContain(`at least ${sufficientBits} bits`);
    await expect(patient.open()).rejects.toMatchObject({ code: 'PATIENT_NOT_ENROLLED' });
  });

  test('of a patient whose name is none is refused', async () => {
    const patient = await newGateway('named');
    for (const patientId of ['', '..', 'a/b', 'x'.repeat(65), 'Jürgen']) {
      expect(await refused(patient, { patientId })).toMatchObject({
        code: 'MESSAGE_INVALID',
        details: { field: 'patient_id' },
      });
    }
  });
});

test('a gateway with too many streams is told to wait, and nobody else is', async () => {
  const flooding = await newGateway('flooding');
  await flooding.enrol();
  const tls = await deployment.tls(identity('gateway', flooding.patient));
  const { address } = deployment.servers;
  const refused: unknown[] = [];
  const end = new AbortController();
  setMaxListeners(0, end.signal);
  // Each over a connection of its own.
  const streams = Array.from({ length: 40 }, async () => {
    const connection = deployment.connectWith('sp', address, tls);
    const request = { patientId: flooding.patient, fromSequence: 1n };
    const life = linkedAbort(end.signal);
    const events = callServerStream(connection, Monitoring.watch, request, { signal: life.signal });
    await events.next().catch((error: unknown) => {
      if (!end.signal.aborted) refused.push(error);
    });
    life.release();
  });
  await vi.waitUntil(() => refused.length === 8, { timeout: 30_000 });
  const tooMany = { code: 'OVERLOADED', details: { retryAfterMs: 1000 } };
  for (const error of refused) expect(error).toMatchObject(tooMany);
  await expectToGoOn();
  expect(refused).toHaveLength(8);
  end.abort(new Error('enough'));
  await Promise.all(streams);
  // They are let go, and it may come again.
  await vi.waitUntil(() =>
    flooding.open().then(
      ({ stream }) => {
        stream.cancel();
        return true;
      },
      () => false,
    ),
  );
});

function never(): never {
  throw new Error('it is there');
}
