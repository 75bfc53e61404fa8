/**
 * Messages that are sent again, to another CSP process, for another patient or changed. The service
 * provider's side is the real one; the attacker has every byte that it ever sent.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';

import { encodeKey, provePossession } from '@duoveil/common/bcp';
import { packingPlanOf, parsePolicy } from '@duoveil/common/encoding';
import { elementAt } from '@duoveil/common/lists';
import { chooseTransfers, drawDelta, evaluateComparison } from '@duoveil/common/protocols/compare';
import { encryptSamples } from '@duoveil/common/protocols/packed';
import { parsePatientId, silentLogger, type CallContext } from '@duoveil/common/runtime';
import { CompareRequest, LoadModelRequest, ScoreRequest, type IngestRequest } from '@duoveil/proto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { TransferSessions } from '../../../csp/src/sessions/transfers.js';
import { Comparisons } from '../../../csp/src/sessions/comparisons.js';
import { ProviderIdentity } from '../../../service-provider/src/csp/packed.js';
import { TransferSession } from '../../../service-provider/src/csp/transfer-session.js';
import { ingest, type IngestEnvironment } from '../../../service-provider/src/handlers/ingest.js';
import { decodePackedModel } from '../../../service-provider/src/monitor/packed-model.js';
import { PackedSuite } from '../../../service-provider/src/monitor/packed-suite.js';
import { callBytes, localConnection, type WireCall } from '../../src/local/loopback.js';
import { packedKeys } from '../../src/local/packed.js';
import { SeededRandom } from '../../src/local/randomness.js';
import { schemaOfBits } from '../../src/local/schemas.js';
import { call, codeOf, engine, startCsp, type CspPolicy, type TestCsp } from './support.js';

const random = new SeededRandom('attacks/replay');
const made = packedKeys(512, engine, random);
const started: TestCsp[] = [];
afterAll(async () => {
  await Promise.all(started.map((csp) => csp.close()));
  await engine.close();
});

const schema = schemaOfBits(8);
const WINDOW_A = [[60n], [61n], [62n], [60n]];
const WINDOW_B = [[200n], [199n], [198n], [200n]];

/** A CSP, and a service provider that watches one patient of it with a trained model. */
async function deployment(output: 'level' | 'distance', policyOfCsp: CspPolicy = {}) {
  const keys = await made;
  const start = async () => {
    const csp = await startCsp(keys, random, {
      allowDistance: output === 'distance',
      ...policyOfCsp,
    });
    started.push(csp);
    return csp;
  };
  const state = { csp: await start() };
  const calls: WireCall[] = [];
  const connection = localConnection(
    () => state.csp.packed,
    (moment, wire) => {
      if (moment === 'after') calls.push(wire);
    },
  );
  const provider = new ProviderIdentity(keys.own, connection);
  const session = new TransferSession(connection, random);
  const watch = async (name: string, window: readonly (readonly bigint[])[]) => {
    const proof = await provePossession(keys.bcp, keys.keys, name, random);
    const policy = parsePolicy(
      {
        window: window.length,
        baseline: 'fixed',
        thresholdScaled: 400_000n,
        ...(output === 'level' ? { higherThresholdsScaled: [4_000_000n] } : {}),
        suite: 'packed',
        output,
      },
      schema,
      'a test',
    );
    const patient = {
      id: parsePatientId(name, 'patient'),
      key: encodeKey(keys.keys.publicKey, proof, keys.bcp.parameters),
      schema,
      policy,
    };
    const stop = new AbortController().signal;
    const { bcp } = keys;
    const cspKey = keys.csp.key;
    const environment = { bcp, cspKey, csp: connection, provider, session, random, stop };
    const suite = new PackedSuite(environment, patient);
    const plan = packingPlanOf(schema, policy, 512);
    const samples = async (list: readonly (readonly bigint[])[]) =>
      (await encryptSamples(plan, keys.key, list, random)).map((ciphertexts, i) => ({
        sequence: i + 1,
        ciphertexts,
      }));
    const content = await suite.train(await samples(window));
    const model = { number: 1, throughSequence: window.length, content, trainMs: 1 };
    return {
      model,
      sealed: decodePackedModel(content, bcp.parameters).sealedShare,
      sample: async (reading: bigint) => elementAt(await samples([[reading]]), 0),
      score: async (reading: bigint) =>
        suite.score(model, elementAt(await samples([[reading]]), 0)),
      suite,
    };
  };
  const sent = (method: string) => calls.filter((wire) => wire.method === method);
  const repeat = (method: string, request?: Buffer) =>
    callBytes(
      state.csp.packed,
      method,
      request ?? elementAt(sent(method), -1 + sent(method).length).request,
    );
  const restart = async () => {
    state.csp = await start();
  };
  return { keys, state, watch, sent, repeat, restart, provider };
}

describe('a message for level output that is sent again', () => {
  let run: Awaited<ReturnType<typeof deployment>>;
  let patient: Awaited<ReturnType<Awaited<ReturnType<typeof deployment>>['watch']>>;
  beforeAll(async () => {
    run = await deployment('level');
    patient = await run.watch('ward-3.bed-12', WINDOW_A);
    expect(await patient.score(200n)).toEqual({ kind: 'level', level: 2 });
    expect(await patient.score(61n)).toEqual({ kind: 'level', level: 0 });
  });

  it('a score, byte for byte, is never answered twice', async () => {
    for (const { request } of run.sent('score')) {
      expect(await codeOf(run.repeat('score', request))).toBe('MESSAGE_INVALID');
    }
    // Control: what refuses it is the instance; under a fresh one the same sample is another score.
    const { request } = elementAt(run.sent('score'), 0);
    const fresh = { ...ScoreRequest.decode(request), instance: 77 };
    expect(await codeOf(call.score(run.state.csp.packed, fresh))).toBeUndefined();
    expect(await codeOf(call.score(run.state.csp.packed, fresh))).toBe('MESSAGE_INVALID');
  });

  it('a comparison, where it may be taken again, answers another predicate of the same input; is taken once', async () => {
    const { request } = elementAt(run.sent('compare'), 0);
    const { hashKey, tables } = CompareRequest.decode(request);
    expect(await codeOf(run.repeat('compare', request))).toBe('SESSION_NOT_OPEN');
    const other = { ...CompareRequest.decode(request), tables: Buffer.alloc(tables.length) };
    expect(await codeOf(call.compare(run.state.csp.packed, other))).toBe('SESSION_NOT_OPEN');

    // The unprotected variant keeps what it compared: the answers of many tables add up.
    const labels = random.bytes(16 * 4096);
    const keep = new Comparisons(random);
    const circuit = {
      inputs: 2,
      known: 0,
      gates: [{ kind: 'and', a: 1, b: 2 }],
      ands: 1,
      outputs: [3],
    };
    const pending = { circuit, labels: labels.subarray(0, 32) } as unknown as ReturnType<
      Comparisons['take']
    >;
    const answers = Array.from({ length: 32 }, () =>
      evaluateComparison(pending, { hashKey, tables: random.bytes(32) })[0] === true ? 1 : 0,
    );
    expect(new Set(answers).size).toBe(2);
    const id = keep.add(pending);
    keep.take(id);
    expect(() => keep.take(id)).toThrow('there is no such comparison');
  });

  it('anything of a session is refused by a CSP that was started again', async () => {
    const { request } = elementAt(run.sent('score'), 0);
    await run.restart();
    const { csp } = run.state;
    expect(await codeOf(run.repeat('score', request))).toBe('MODEL_NOT_LOADED');
    await run.repeat('registerProviderKey');
    await run.repeat('loadModel');
    const old = { ...ScoreRequest.decode(request), instance: 999 };
    expect(await codeOf(call.score(csp.packed, old))).toBe('SESSION_NOT_OPEN');
    expect(await codeOf(run.repeat('compare'))).toBe('SESSION_NOT_OPEN');
    expect(await codeOf(run.repeat('chooseTransfers'))).toBe('SESSION_NOT_OPEN');
    // The honest service provider goes on: it opens another session.
    expect(await patient.score(200n)).toEqual({ kind: 'level', level: 2 });
  });

  it('an instance stays refused when it is so old that it was forgotten', async () => {
    const sessions = new TransferSessions(random);
    const { id, message } = sessions.offer();
    const { choices } = drawDelta(random);
    const chosen = await chooseTransfers(message, choices, random);
    await sessions.choose(id, chosen.message);
    sessions.use(id, 1);
    expect(() => sessions.use(id, 1)).toThrow('never used');
    // Control: one that was not used is taken also where a later one came before.
    sessions.use(id, 5000);
    expect(() => sessions.use(id, 4999)).not.toThrow();
    for (const old of [0, 1, 2, 904]) expect(() => sessions.use(id, old)).toThrow('never used');
  });
});

describe('a score for distance output that is sent again', () => {
  it('has the same answer byte for byte, also after a restart; fresh randomness would answer anew each time', async () => {
    const run = await deployment('distance');
    const patient = await run.watch('ward-3.bed-12', WINDOW_A);
    await patient.score(70n);
    const { request, response } = elementAt(run.sent('score'), 0);
    expect(await run.repeat('score', request)).toEqual(response);
    await run.restart();
    await run.repeat('registerProviderKey');
    await run.repeat('loadModel');
    expect(await run.repeat('score', request)).toEqual(response);
    // Control: of the same sample under other masks the answer is another one.
    await patient.score(70n);
    expect(elementAt(run.sent('score'), 1).response).not.toEqual(response);
  });
});

describe("the CSP's sealed share", () => {
  it('opens for another patient where it is bound to none; the real one does not, nor changed, nor under other parameters', async () => {
    const run = await deployment('level');
    const first = await run.watch('ward-3.bed-12', WINDOW_A);
    const second = await run.watch('ward-3.bed-13', WINDOW_B);
    const key = random.bytes(32);
    const nonce = random.bytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    const unbound = Buffer.concat([cipher.update('a share of patient A'), cipher.final()]);
    const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAuthTag(cipher.getAuthTag());
    // For whomever: nothing in it says whose it is.
    expect(Buffer.concat([decipher.update(unbound), decipher.final()]).toString()).toContain('A');

    // Both are loaded by the next score; the request is the attacker's template.
    await first.score(61n);
    const template = elementAt(run.sent('loadModel'), 0).request;
    const load = LoadModelRequest.decode(template);
    const { csp } = run.state;
    expect(await codeOf(call.load(csp.packed, load))).toBeUndefined();
    const flip = (at: number) => {
      const changed = Buffer.from(load.sealedShare);
      changed[at] = (changed[at] ?? 0) ^ 1;
      return changed;
    };
    const attempts = [
      { ...load, patientId: 'ward-3.bed-13' },
      { ...load, sealedShare: second.sealed },
      ...[0, 11, 12, 40, load.sealedShare.length - 1].map((at) => ({
        ...load,
        sealedShare: flip(at),
      })),
      { ...load, sealedShare: load.sealedShare.subarray(0, 28) },
    ];
    for (const attempt of attempts) {
      expect(await codeOf(call.load(csp.packed, attempt))).toBe('UNSEALING_FAILED');
    }
    const other = await packedKeys(1024, engine, random);
    const elsewhere = await startCsp(other, random);
    started.push(elsewhere);
    const { providerKeyId } = await register(elsewhere, other);
    expect(await codeOf(call.load(elsewhere.packed, { ...load, providerKeyId }))).toBe(
      'UNSEALING_FAILED',
    );
  });
});

async function register(csp: TestCsp, keys: Awaited<typeof made>) {
  const connection = localConnection(() => csp.packed);
  const identity = new ProviderIdentity(keys.own, connection);
  return { providerKeyId: await identity.id(new AbortController().signal) };
}

describe("a sample in another patient's series", () => {
  const context = (patient: string): CallContext =>
    ({
      identity: { trustDomain: 'test.internal', role: 'gateway', patient },
      signal: new AbortController().signal,
      requestId: '0123456789abcdef',
      logger: silentLogger(),
    }) as unknown as CallContext;

  async function* opening(patientId: string): AsyncGenerator<IngestRequest> {
    await Promise.resolve();
    const parametersDigest = Buffer.from((await made).master.parameters.digest, 'hex');
    yield { message: { $case: 'open', value: { patientId, parametersDigest } } };
  }

  it('is refused by who sends it: a gateway opens the stream of its own patient only', async () => {
    const { bcp } = await made;
    const asked: string[] = [];
    const monitors = {
      of: (patient: string) => {
        asked.push(patient);
        throw new Error('reached');
      },
    };
    const environment = { bcp, monitors } as unknown as IngestEnvironment;
    const attempt = (name: string, target: string) =>
      ingest(environment)(opening(target), () => Promise.resolve(), context(name));
    // Control: without another name in the certificate the stream is opened.
    await expect(attempt('bed-12', 'bed-12')).rejects.toThrow('reached');
    expect(asked).toEqual(['bed-12']);
    await expect(attempt('bed-12', 'bed-13')).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    expect(asked).toEqual(['bed-12']);
  });

  it("forced in at the service provider, is judged by that patient's baseline, not by its own", async () => {
    const run = await deployment('level');
    const first = await run.watch('bed-12', WINDOW_A);
    const second = await run.watch('bed-13', WINDOW_B);
    const sample = await first.sample(61n);
    expect(await first.suite.score(first.model, sample)).toEqual({ kind: 'level', level: 0 });
    expect(await second.suite.score(second.model, sample)).toEqual({ kind: 'level', level: 2 });
  });
});

describe("a patient's budget", () => {
  it("is the model's, whatever the caller says; a name that is made up still has the provider's", async () => {
    const run = await deployment('level', {
      patient: { perMinute: 2, perDay: 2 },
      provider: { perMinute: 0, perDay: 5 },
    });
    const first = await run.watch('bed-12', WINDOW_A);
    const second = await run.watch('bed-13', WINDOW_B);
    for (let i = 0; i < 2; i++) await first.score(61n);
    await expect(first.score(61n)).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' });
    // Loading the model under the other name would give it the other budget.
    const load = LoadModelRequest.decode(elementAt(run.sent('loadModel'), 0).request);
    const stolen = { ...load, patientId: 'bed-13' };
    expect(await codeOf(call.load(run.state.csp.packed, stolen))).toBe('UNSEALING_FAILED');
    for (let i = 0; i < 2; i++) await second.score(199n);
    await expect(second.score(199n)).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' });
    // Training the same window anew under names that nobody has is only bounded by the provider's.
    const invented = await run.watch('nobody', WINDOW_A);
    await invented.score(61n);
    const another = await run.watch('nobody-else', WINDOW_A);
    await expect(another.score(61n)).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' });
    const log = await run.state.csp.audited();
    for (const name of ['bed-12', 'bed-13', 'nobody-else']) {
      expect(log).toContain(
        `"event":"refused","method":"Score","patient":"${name}","code":"BUDGET_EXCEEDED"`,
      );
    }
  });
});
