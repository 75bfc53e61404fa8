/**
 * Messages that are sent again, to another CSP process, for another patient or changed. The service
 * provider's side is the real one; the attacker has every byte that it ever sent.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  encodeKey,
  generateKeyPair,
  KeyedBcp,
  provePossession,
  type KeyPair,
} from '@duoveil/common/bcp';
import { packingPlanOf, parsePolicy } from '@duoveil/common/encoding';
import { elementAt } from '@duoveil/common/lists';
import { chooseTransfers, drawDelta, evaluateComparison } from '@duoveil/common/protocols/compare';
import { encryptSamples } from '@duoveil/common/protocols/packed';
import {
  parsePatientId,
  silentLogger,
  systemClock,
  type CallContext,
  Turns,
} from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import {
  CompareRequest,
  LoadModelRequest,
  RegisterKeyRequest,
  ScoreRequest,
  type IngestRequest,
} from '@duoveil/proto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Budgets } from '../../../csp/src/audit/budgets.js';
import { Models } from '../../../csp/src/keys/models.js';
import { TransferSessions } from '../../../csp/src/sessions/transfers.js';
import { Comparisons } from '../../../csp/src/sessions/comparisons.js';
import { providerKey } from '../../../service-provider/src/csp/provider-key.js';
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

const pairs = new Map<string, Promise<KeyPair>>();

/** Each patient has a key of its own, the same in all of these tests. */
async function keyPairOf(name: string): Promise<KeyPair> {
  const { bcp } = await made;
  const pair = pairs.get(name) ?? generateKeyPair(bcp, random);
  pairs.set(name, pair);
  return pair;
}

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
  const provider = providerKey(keys.own, connection);
  const session = new TransferSession(connection, random);
  const watch = async (name: string, window: readonly (readonly bigint[])[], number = 1) => {
    const pair = await keyPairOf(name);
    const proof = await provePossession(keys.bcp, pair, name, random);
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
      key: encodeKey(pair.publicKey, proof, keys.bcp.parameters),
      schema,
      policy,
    };
    const stop = new AbortController().signal;
    const { bcp } = keys;
    const cspKey = keys.csp.key;
    const environment = {
      bcp,
      cspKey,
      csp: connection,
      provider,
      session,
      turns: new Turns(),
      random,
      stop,
    };
    const suite = new PackedSuite(environment, patient);
    const plan = packingPlanOf(schema, policy, 512);
    const samples = async (list: readonly (readonly bigint[])[]) =>
      (await encryptSamples(plan, new KeyedBcp(bcp, pair.publicKey), list, random)).map(
        (ciphertexts, i) => ({
          sequence: i + 1,
          ciphertexts,
        }),
      );
    const content = await suite.train(await samples(window), number);
    const model = { number, throughSequence: window.length, content, trainMs: 1 };
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
    await run.repeat('registerKey');
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
    await run.repeat('registerKey');
    await run.repeat('registerProviderKey');
    await run.repeat('loadModel');
    expect(await run.repeat('score', request)).toEqual(response);
    // Control: of the same sample under other masks the answer is another one.
    await patient.score(70n);
    expect(elementAt(run.sent('score'), 1).response).not.toEqual(response);
  });
});

describe("the CSP's sealed share", () => {
  it('that is bound to nothing opens as any; one that is bound, as itself alone', async () => {
    const { bcp } = await made;
    const models = new Models(new Secret(random.bytes(32)), 512, bcp.parameters.digest);
    const share = { constant: 11n, determinant: 12n, features: [13n, 14n] };
    const shape = { schema, window: 4, thresholds: [400_000n] };
    const [one, two] = ['aa', 'bb'].map((byte) => byte.repeat(32)) as [string, string];
    const provider = 'spiffe://test.internal/sp';
    const own = { keyId: one, provider, number: 2 };
    const others = [
      { ...own, keyId: two },
      { ...own, number: 1 },
      { ...own, number: 3 },
      { ...own, provider: 'spiffe://elsewhere.internal/sp' },
    ];
    const opens = (seal: typeof own, open: typeof own): boolean => {
      const sealed = models.seal(seal, shape, share, random);
      try {
        return models.unseal(open, sealed).share.constant === 11n;
      } catch {
        return false;
      }
    };
    // The unprotected variant leaves out what it should bind.
    const nothing = { keyId: '', provider: '', number: 1 };
    expect(others.map(() => opens(nothing, nothing))).toEqual(others.map(() => true));
    expect(opens(own, own)).toBe(true);
    expect(others.map((other) => opens(own, other))).toEqual(others.map(() => false));
  });

  it('is refused under the key of another patient, under another number, changed, or elsewhere', async () => {
    const run = await deployment('level');
    const first = await run.watch('ward-3.bed-12', WINDOW_A);
    const second = await run.watch('ward-3.bed-13', WINDOW_B);
    // Both are loaded by the next score; the request is the attacker's template.
    await first.score(61n);
    await second.score(199n);
    const [load, ofSecond] = run
      .sent('loadModel')
      .map(({ request }) => LoadModelRequest.decode(request)) as [
      LoadModelRequest,
      LoadModelRequest,
    ];
    expect(load.keyId.equals(ofSecond.keyId)).toBe(false);
    const { csp } = run.state;
    expect(await codeOf(call.load(csp.packed, load))).toBeUndefined();
    const flip = (at: number) => {
      const changed = Buffer.from(load.sealedShare);
      changed[at] = (changed[at] ?? 0) ^ 1;
      return changed;
    };
    const attempts = [
      { ...load, keyId: ofSecond.keyId },
      { ...load, sealedShare: second.sealed },
      { ...load, modelNumber: 2 },
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
    const pair = await generateKeyPair(other.bcp, random);
    const proof = await provePossession(other.bcp, pair, 'ward-3.bed-12', random);
    const { publicKey, ...proved } = encodeKey(pair.publicKey, proof, other.bcp.parameters);
    const { keyId } = await call.registerKey(elsewhere.keys, {
      patientId: 'ward-3.bed-12',
      parametersDigest: Buffer.from(other.bcp.parameters.digest, 'hex'),
      publicKey: { h: publicKey },
      proof: proved,
    });
    expect(await codeOf(call.load(elsewhere.packed, { ...load, keyId, providerKeyId }))).toBe(
      'UNSEALING_FAILED',
    );
  });

  it('of an older model is loaded under its own number alone: it gives the level by the older baseline', async () => {
    const run = await deployment('level');
    const older = await run.watch('ward-3.bed-12', WINDOW_A, 1);
    expect(await older.score(61n)).toEqual({ kind: 'level', level: 0 });
    const newer = await run.watch('ward-3.bed-12', WINDOW_B, 2);
    expect(await newer.score(61n)).toEqual({ kind: 'level', level: 2 });
    const [old, now] = run
      .sent('loadModel')
      .map(({ request }) => LoadModelRequest.decode(request)) as [
      LoadModelRequest,
      LoadModelRequest,
    ];
    const { packed } = run.state.csp;
    expect(old.keyId).toEqual(now.keyId);
    // Half of one model with half of another: what mixes them is refused.
    for (const mixed of [
      { ...now, sealedShare: old.sealedShare },
      { ...old, sealedShare: now.sealedShare },
    ]) {
      expect(await codeOf(call.load(packed, mixed))).toBe('UNSEALING_FAILED');
    }
    // Whole, it is what a service provider has that does not train again: paid for like any other.
    expect(await codeOf(call.load(packed, old))).toBeUndefined();
    expect(await older.score(61n)).toEqual({ kind: 'level', level: 0 });
  });
});

async function register(csp: TestCsp, keys: Awaited<typeof made>) {
  const connection = localConnection(() => csp.packed);
  const identity = providerKey(keys.own, connection);
  return { providerKeyId: await identity.registration.id(new AbortController().signal) };
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
      own: (patient: string) => {
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

describe("one patient's sample on another's budget", () => {
  it('has all the budget there is where the name is taken as it is said', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-trusting-'));
    const trusting = await Budgets.open({
      file: join(directory, 'budgets.json'),
      key: new Secret(random.bytes(32)),
      patient: { perMinute: 2, perDay: 2 },
      provider: { perMinute: 0, perDay: 0 },
      clock: systemClock,
    });
    for (let i = 0; i < 50; i++) await trusting.spend(`said-${i}`, 'sp');
    await rm(directory, { recursive: true });
  });

  it("is charged to the key that the model was made under: neither a name nor another's key can be put in its place", async () => {
    const run = await deployment('level', { patient: { perMinute: 2, perDay: 2 } });
    const first = await run.watch('bed-12', WINDOW_A);
    const second = await run.watch('bed-13', WINDOW_B);
    for (let i = 0; i < 2; i++) await first.score(61n);
    const { packed } = run.state.csp;
    const score = ScoreRequest.decode(elementAt(run.sent('score'), 0).request);
    const again = (fields: object = {}) =>
      codeOf(call.score(packed, { ...score, instance: 700, ...fields }));
    expect(await again()).toBe('BUDGET_EXCEEDED');
    await second.score(199n);
    // The model under the other key, whose budget is not spent.
    const [load, ofSecond] = run
      .sent('loadModel')
      .map(({ request }) => LoadModelRequest.decode(request)) as [
      LoadModelRequest,
      LoadModelRequest,
    ];
    const stolen = { ...load, keyId: ofSecond.keyId };
    expect(await codeOf(call.load(packed, stolen))).toBe('UNSEALING_FAILED');
    // The key under another name: the proof of its possession is for this one.
    const registration = RegisterKeyRequest.decode(elementAt(run.sent('registerKey'), 0).request);
    const renamed = { ...registration, patientId: 'somebody-else' };
    expect(await codeOf(call.registerKey(packed, renamed))).toBe('KEY_INVALID');
    // Registered and loaded once more it is the same key, and the same budget.
    await run.repeat('registerKey', elementAt(run.sent('registerKey'), 0).request);
    await call.load(packed, load);
    expect(await again({ instance: 701 })).toBe('BUDGET_EXCEEDED');
    const log = await run.state.csp.audited();
    const line = '"event":"refused","method":"Score","patient":"bed-12","code":"BUDGET_EXCEEDED"';
    expect(log.split(line)).toHaveLength(2);
  });

  it("is scored by a model made under keys that are made up, until the service provider's budget ends it", async () => {
    const attack = async (perDay: number) => {
      const run = await deployment('level', {
        patient: { perMinute: 0, perDay: 2 },
        provider: { perMinute: 0, perDay },
      });
      const victim = await run.watch('bed-12', WINDOW_A);
      const sample = await victim.sample(61n);
      let answers = 0;
      // Nothing of the masked sample shows whose key it was encrypted under.
      for (const name of ['made-up-1', 'made-up-2', 'made-up-3', 'made-up-4']) {
        const invented = await run.watch(name, WINDOW_B);
        for (let i = 0; i < 2; i++) {
          const code = await codeOf(invented.suite.score(invented.model, sample));
          if (code === undefined) answers += 1;
          else expect(code).toBe('BUDGET_EXCEEDED');
        }
      }
      return answers;
    };
    // Without a budget for the service provider there is no end to it.
    expect(await attack(0)).toBe(8);
    expect(await attack(5)).toBe(5);
  });
});
