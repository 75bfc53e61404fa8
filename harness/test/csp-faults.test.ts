/** A CSP that is away, slow, forgetful or wrong: nothing is lost, and no mask is used twice. */
import { duoveilError } from '@duoveil/common/errors';
import { bytesFromInteger } from '@duoveil/common/random';
import {
  MultiplyResponse,
  OpenResponse,
  RegisterKeyResponse,
  SubtractResponse,
} from '@duoveil/proto';
import type { Ciphertext } from '@duoveil/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { CspProxy, PassingCall } from '../src/faults/csp-proxy.js';
import { Deployment, identity, PATIENT } from './support/deployment.js';
import { HandMadeGateway, policyOf, SCHEMA } from './support/hand-made.js';
import { Openings } from './support/openings.js';
import { expectEvents, samples } from './support/series.js';

let deployment: Deployment;
let proxy: CspProxy;
let openings: Openings;

beforeEach(async () => {
  deployment = await Deployment.prepare();
  proxy = await deployment.startCspBehindProxy();
  openings = new Openings();
});
afterEach(async () => {
  await deployment.close();
});

/** Something that goes wrong with one call. */
interface Fault {
  readonly name: string;
  /** Whether a call is of the kind that it concerns; any, unless given. */
  readonly concerns?: (call: PassingCall) => boolean;
  readonly happens: (call: PassingCall) => Promise<Buffer>;
}

const is =
  (...methods: string[]) =>
  ({ method }: PassingCall): boolean =>
    methods.includes(method);

const unavailable = (): Error =>
  duoveilError('PEER_UNAVAILABLE', 'the connection broke', { peer: 'csp' });

/** An answer with other results than the CSP gave. */
const results =
  (change: (results: Ciphertext[]) => Ciphertext[]) =>
  async (call: PassingCall): Promise<Buffer> => {
    const codec = call.method === 'Subtract' ? SubtractResponse : MultiplyResponse;
    const answer = codec.decode(await call.pass());
    return Buffer.from(codec.encode({ results: change(answer.results) }).finish());
  };

/** An answer in which a component of the last result is another one. */
const component = (change: (bytes: Buffer) => Buffer, of: 'a' | 'b' = 'b') =>
  results((list) =>
    list.map((one, i) => (i === list.length - 1 ? { ...one, [of]: change(one[of]) } : one)),
  );

/** An answer with other values in the clear. */
const values =
  (change: (values: Buffer[]) => Buffer[]) =>
  async (call: PassingCall): Promise<Buffer> => {
    const answer = OpenResponse.decode(await call.pass());
    return Buffer.from(OpenResponse.encode({ values: change(answer.values) }).finish());
  };

const bytes = (answer: Uint8Array) => (): Promise<Buffer> => Promise.resolve(Buffer.from(answer));

/** Each once, at calls that lie a little apart. */
function* faultsOf(modulus: bigint, modulusSquared: bigint, width: number): Generator<Fault> {
  const arithmetic = is('Subtract', 'Multiply');
  yield { name: 'refuses, being busy', happens: fail(duoveilError('NOT_READY', 'not yet')) };
  yield {
    name: 'is overloaded',
    happens: fail(duoveilError('OVERLOADED', 'too much', { retryAfterMs: 1 })),
  };
  yield { name: 'is gone before it has read', happens: fail(unavailable()) };
  yield {
    name: 'is gone before it has answered',
    happens: async (call) => {
      await call.pass();
      throw unavailable();
    },
  };
  yield {
    name: 'has forgotten the key',
    happens: fail(duoveilError('KEY_NOT_REGISTERED', 'register it')),
  };
  yield {
    name: 'gives the key a name that it does not know',
    concerns: is('RegisterKey'),
    happens: bytes(RegisterKeyResponse.encode({ keyId: Buffer.alloc(32) }).finish()),
  };
  yield { name: 'has a defect', happens: fail(duoveilError('INTERNAL', 'a defect')) };
  yield { name: 'answers what is no message', happens: bytes(Buffer.from('0affffffff0f', 'hex')) };
  yield { name: 'answers nothing', concerns: arithmetic, happens: bytes(new Uint8Array()) };
  yield {
    name: 'answers too little',
    concerns: arithmetic,
    happens: results((list) => list.slice(1)),
  };
  yield {
    name: 'answers too much',
    concerns: arithmetic,
    happens: results((list) => [...list, ...list.slice(0, 1)]),
  };
  const ciphertexts: Readonly<Record<string, Buffer>> = {
    '0': Buffer.alloc(width),
    'N²': bytesFromInteger(modulusSquared, width),
    N: bytesFromInteger(modulus, width),
    'no bytes': Buffer.alloc(0),
  };
  for (const [what, ciphertext] of Object.entries(ciphertexts)) {
    for (const of of ['a', 'b'] as const) {
      yield {
        name: `answers with ${what} for a ciphertext's ${of}`,
        concerns: arithmetic,
        happens: component(() => ciphertext, of),
      };
    }
  }
  yield {
    name: 'answers with half a ciphertext',
    concerns: arithmetic,
    happens: component((good) => good.subarray(good.length / 2)),
  };
  const open = is('Open');
  yield { name: 'opens too little', concerns: open, happens: values((list) => list.slice(1)) };
  yield { name: 'opens to no bytes', concerns: open, happens: values(() => [Buffer.alloc(0)]) };
  yield {
    name: 'opens to N',
    concerns: open,
    happens: values(() => [bytesFromInteger(modulus, width / 2)]),
  };
  yield {
    name: 'opens to a number that is too long',
    concerns: open,
    happens: values(([good = Buffer.alloc(0)]) => [Buffer.concat([Buffer.alloc(1), good])]),
  };
}

const fail = (error: Error) => (): Promise<Buffer> => Promise.reject(error);

describe('a CSP', () => {
  test('that is not there yet is waited for', async () => {
    await proxy.stop();
    const starting = deployment.servers.startSp(proxy.address);
    await deployment.logged(/the CSP does not answer yet/);
    await proxy.start();
    await starting;
    const connection = await deployment.connect('sp', identity('gateway'));
    const gateway = await HandMadeGateway.create(connection, await deployment.bcp(), PATIENT);
    await gateway.enrol();
    expect((await gateway.open()).next).toBe(1n);
  });

  test('that goes wrong in every way costs nothing but time, and never sees a mask twice', async () => {
    await deployment.servers.startSp(proxy.address);
    const bcp = await deployment.bcp();
    const { modulus, modulusSquared, elementBytes } = bcp.parameters;
    const faults = [...faultsOf(modulus, modulusSquared, elementBytes)];
    const happened: string[] = [];
    let quietUntil = 5;
    proxy.meddle = (call) => {
      openings.take(call);
      const next = faults.findIndex(({ concerns }) => concerns?.(call) ?? true);
      const fault = faults[next];
      // Not every call: a step that fails is done again from its beginning.
      const quiet = call.number < quietUntil && call.method !== 'RegisterKey';
      if (fault === undefined || quiet) return call.pass();
      faults.splice(next, 1);
      happened.push(fault.name);
      quietUntil = call.number + 4;
      return fault.happens(call);
    };

    const policy = policyOf(SCHEMA, { window: 5, baseline: 'rolling', retrainEvery: 4 });
    const connection = await deployment.connect('sp', identity('gateway'));
    const gateway = await HandMadeGateway.create(connection, bcp, PATIENT);
    await gateway.enrol(gateway.enrolment(SCHEMA, policy));
    const rows = samples(34);
    await gateway.deliver(rows.map(({ values: row }) => row));
    const events = await gateway.watch(rows.length);
    expect({ left: faults.map(({ name }) => name) }).toEqual({ left: [] });
    expectEvents(events, rows, SCHEMA, policy);

    // All that was ever sent, retries included, was masked afresh.
    expect(openings.count).toBeGreaterThan(500);
    const master = await deployment.masterKey();
    const distinct = await openings.distinct(master, bcp, gateway.keys.publicKey);
    expect(distinct).toEqual({ ciphertexts: openings.count, values: openings.count });
    expect(happened).toHaveLength(new Set(happened).size);
  });

  test('that hangs, is restarted and hangs again holds up nobody but the decisions', async () => {
    await deployment.servers.startSp(proxy.address);
    const bcp = await deployment.bcp();
    const connection = await deployment.connect('sp', identity('gateway'));
    const gateway = await HandMadeGateway.create(connection, bcp, PATIENT);
    const policy = policyOf(SCHEMA, { window: 5 });
    await gateway.enrol(gateway.enrolment(SCHEMA, policy));
    const rows = samples(16);
    const values = rows.map((row) => row.values);

    const hanging: PassingCall[] = [];
    let hang = true;
    let noticed = (): void => undefined;
    proxy.meddle = (call) => {
      openings.take(call);
      if (!hang || call.method === 'RegisterKey') return call.pass();
      hanging.push(call);
      noticed();
      return new Promise(() => undefined);
    };
    const hangs = (count: number): Promise<void> =>
      new Promise((resolve) => {
        noticed = () => {
          if (hanging.length >= count) resolve();
        };
        noticed();
      });

    await gateway.deliver(values.slice(0, 6));
    await hangs(1);
    // Meanwhile samples are taken, patients enrolled.
    await gateway.deliver(values.slice(6, 12));
    const other = await HandMadeGateway.create(connection, bcp, PATIENT);
    await expect(other.enrol()).rejects.toMatchObject({ code: 'PATIENT_CONFLICT' });
    // The connection breaks in the middle of the call; the next one hangs as well.
    await proxy.stop();
    await proxy.start();
    await hangs(2);
    await proxy.stop();
    // The CSP itself is another one when it comes back: it has forgotten everything.
    deployment.servers.csp.kill();
    hang = false;
    await proxy.start();
    await gateway.deliver(values.slice(12));
    expectEvents(await gateway.watch(rows.length), rows, SCHEMA, policy);
    const master = await deployment.masterKey();
    const distinct = await openings.distinct(master, bcp, gateway.keys.publicKey);
    expect(distinct).toEqual({ ciphertexts: openings.count, values: openings.count });
  });
});
