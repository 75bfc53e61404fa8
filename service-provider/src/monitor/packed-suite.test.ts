/** Allows everything. */
const discipline = {
  answer: (...[, , , , answer]: Parameters<Discipline['answer']>) => answer(),
} as unknown as Discipline;

/**
 * The suite against a CSP in the same process, which fails, forgets and restarts. The CSP's handlers
 * are the real ones: this is the one test of the service provider that knows them.
 */
import { encodeKey, provePossession } from '@duoveil/common/bcp';
import { packingPlan, parsePolicy, type Rational } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { elementAt } from '@duoveil/common/lists';
import type { AdditiveKeyPair } from '@duoveil/common/paillier';
import { encryptSamples } from '@duoveil/common/protocols/packed';
import { parsePatientId, Turns, type Service } from '@duoveil/common/runtime';
import { afterAll, describe, expect, it } from 'vitest';

import type { Discipline } from '../../../csp/src/audit/discipline.js';
import { keyService } from '../../../csp/src/handlers/keys.js';
import { packedService } from '../../../csp/src/handlers/packed.js';
import { deriveKeys } from '../../../csp/src/keys/derived-keys.js';
import { Models } from '../../../csp/src/keys/models.js';
import { PatientKeys } from '../../../csp/src/keys/patient-keys.js';
import { ProviderKeys } from '../../../csp/src/keys/provider-keys.js';
import { Comparisons } from '../../../csp/src/sessions/comparisons.js';
import { TransferSessions } from '../../../csp/src/sessions/transfers.js';
import { testEngine } from '../../../harness/src/local/engine.js';
import { localConnection, together, type WireCall } from '../../../harness/src/local/loopback.js';
import { packedKeys } from '../../../harness/src/local/packed.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { schemaOfBits } from '../../../harness/src/local/schemas.js';
import { exactMd2 } from '../../../harness/src/oracle/model.js';
import { providerKey } from '../csp/provider-key.js';
import { TransferSession } from '../csp/transfer-session.js';
import type { StoredModel } from '../store/index.js';
import { PackedSuite } from './packed-suite.js';

const engine = testEngine();
afterAll(() => engine.close());

const schema = schemaOfBits(8, 8);
const WINDOW = [
  [10n, 200n],
  [12n, 210n],
  [11n, 190n],
  [13n, 205n],
  [10n, 201n],
];
const SAMPLES = [
  [30n, 180n],
  [0n, 0n],
  [255n, 255n],
  [11n, 201n],
];
const random = new SeededRandom('packed suite');
const made = packedKeys(512, engine, random);

/** What is to go wrong, at the calls to come: the first that fits is used up. */
interface Fault {
  readonly method: string;
  readonly moment: 'before' | 'after';
  readonly error: Error;
}

const unavailable = () =>
  duoveilError('PEER_UNAVAILABLE', 'the csp is not there', { peer: 'csp at nowhere' });
const overdue = () =>
  duoveilError('DEADLINE_EXCEEDED', 'the csp takes its time', { peer: 'csp at nowhere' });

/** A deployment: a CSP that can be restarted, and a service provider that can. */
async function deployment() {
  const keys = await made;
  const { sealing, answers } = deriveKeys(keys.master);
  const freshCsp = (): Service => {
    const patientKeys = new PatientKeys(keys.bcp);
    const packed = packedService({
      own: keys.csp,
      keys: patientKeys,
      providers: new ProviderKeys(engine, 512, answers),
      models: new Models(sealing, 512, keys.master.parameters.digest),
      answers,
      random,
      discipline,
      sessions: new TransferSessions(random),
      comparisons: new Comparisons(random),
    });
    return together(packed, keyService(keys.bcp, patientKeys));
  };
  const state = { csp: freshCsp() };
  const calls: WireCall[] = [];
  const faults: Fault[] = [];
  const connection = localConnection(
    () => state.csp,
    (moment, call) => {
      if (moment === 'before') calls.push(call);
      const found = faults.findIndex((f) => f.method === call.method && f.moment === moment);
      const [fault] = found < 0 ? [] : faults.splice(found, 1);
      if (fault !== undefined) throw fault.error;
    },
  );

  const proof = await provePossession(keys.bcp, keys.keys, 'ward-3.bed-12', random);
  const policy = {
    window: WINDOW.length,
    baseline: 'fixed',
    thresholdScaled: 400_000n,
    suite: 'packed',
    output: 'distance',
  };
  const patient = {
    id: parsePatientId('ward-3.bed-12', 'patient'),
    key: encodeKey(keys.keys.publicKey, proof, keys.bcp.parameters),
    schema,
    policy: parsePolicy(policy, schema, 'a test'),
  };
  const startProvider = (own: AdditiveKeyPair = keys.own) =>
    new PackedSuite(
      {
        bcp: keys.bcp,
        cspKey: keys.csp.key,
        csp: connection,
        provider: providerKey(own, connection),
        session: new TransferSession(connection, random),
        turns: new Turns(),
        random,
        stop: new AbortController().signal,
      },
      patient,
    );
  const plan = packingPlan(schema, WINDOW.length, 512);
  const stored = async (samples: readonly (readonly bigint[])[]) =>
    (await encryptSamples(plan, keys.key, samples, random)).map((ciphertexts, i) => ({
      sequence: i + 1,
      ciphertexts,
    }));
  return {
    calls,
    faults,
    startProvider,
    restartCsp: () => {
      state.csp = freshCsp();
    },
    window: await stored(WINDOW),
    samples: await stored(SAMPLES),
    keys,
  };
}

const modelOf = (content: Uint8Array, number = 1): StoredModel => ({
  number,
  throughSequence: WINDOW.length,
  content,
  trainMs: 1,
});

const exact = SAMPLES.map((sample) => exactMd2(WINDOW, sample, [1n, 1n]));

async function scoreAll(
  suite: PackedSuite,
  model: StoredModel,
  { samples }: Awaited<ReturnType<typeof deployment>>,
): Promise<(Rational | undefined)[]> {
  const results = [];
  for (const sample of samples) {
    const score = await suite.score(model, sample);
    results.push(score?.kind === 'distance' ? score.distance : undefined);
  }
  return results;
}

/** No two requests that carry masked values are the same, in any of their elements. */
function expectFresh(calls: readonly WireCall[], expected: number, method: string): void {
  const requests = calls.filter((call) => call.method === method);
  expect(requests).toHaveLength(expected);
  expect(new Set(requests.map(({ request }) => request.toString('hex'))).size).toBe(expected);
}

describe('the packed suite of a service provider', () => {
  it('trains and scores exactly, a call a sample', async () => {
    const run = await deployment();
    const suite = run.startProvider();
    const model = modelOf(await suite.train(run.window, 1));
    expect(run.calls.map(({ method }) => method)).toEqual([
      'registerKey',
      'registerProviderKey',
      'shareGram',
      'invertGram',
      'keepCoefficients',
    ]);
    run.calls.length = 0;
    expect(await scoreAll(suite, model, run)).toEqual(exact);
    expect(run.calls.map(({ method }) => method)).toEqual([
      'loadModel',
      ...SAMPLES.map(() => 'score'),
    ]);
  });

  it('masks the same sample afresh each time', async () => {
    const run = await deployment();
    const suite = run.startProvider();
    const model = modelOf(await suite.train(run.window, 1));
    const again = { ...run, samples: Array.from({ length: 12 }, () => elementAt(run.samples, 0)) };
    expect(new Set((await scoreAll(suite, model, again)).map((d) => d?.numerator)).size).toBe(1);
    expectFresh(run.calls, 12, 'score');
  });

  it('scores at the same time what comes at the same time, each with masks of its own', async () => {
    const run = await deployment();
    const suite = run.startProvider();
    const model = modelOf(await suite.train(run.window, 1));
    const scores = await Promise.all(run.samples.map((sample) => suite.score(model, sample)));
    expect(scores).toEqual(exact.map((distance) => ({ kind: 'distance', distance })));
    expectFresh(run.calls, SAMPLES.length, 'score');
  });

  it.each(['shareGram', 'invertGram', 'keepCoefficients'])(
    'trains all over again, with fresh masks, where %s fails before or after it was served',
    async (method) => {
      const run = await deployment();
      run.faults.push(
        { method, moment: 'before', error: unavailable() },
        { method, moment: 'after', error: overdue() },
      );
      const suite = run.startProvider();
      const model = modelOf(await suite.train(run.window, 1));
      expectFresh(run.calls, 3, 'shareGram');
      for (const step of ['shareGram', 'invertGram', 'keepCoefficients']) {
        const requests = run.calls.filter((call) => call.method === step);
        expectFresh(run.calls, requests.length, step);
      }
      expect(await scoreAll(suite, model, run)).toEqual(exact);
    },
  );

  it('scores again with fresh masks where the CSP is away, or its answer is lost', async () => {
    const run = await deployment();
    const suite = run.startProvider();
    const model = modelOf(await suite.train(run.window, 1));
    run.faults.push(
      { method: 'score', moment: 'before', error: unavailable() },
      { method: 'score', moment: 'after', error: overdue() },
      { method: 'loadModel', moment: 'after', error: unavailable() },
    );
    expect(await scoreAll(suite, model, run)).toEqual(exact);
    expectFresh(run.calls, SAMPLES.length + 2, 'score');
  });

  it('does not repeat what would fail again, and goes on with the next sample', async () => {
    const run = await deployment();
    const suite = run.startProvider();
    const model = modelOf(await suite.train(run.window, 1));
    const error = duoveilError('DECRYPTION_FAILED', 'no');
    run.faults.push({ method: 'score', moment: 'after', error });
    await expect(suite.score(model, elementAt(run.samples, 0))).rejects.toBe(error);
    expect(await scoreAll(suite, model, run)).toEqual(exact);
    expectFresh(run.calls, SAMPLES.length + 1, 'score');
  });

  it('brings keys and model back where the CSP has forgotten all of them: a restart', async () => {
    const run = await deployment();
    const suite = run.startProvider();
    const model = modelOf(await suite.train(run.window, 1));
    expect(await scoreAll(suite, model, run)).toEqual(exact);
    run.calls.length = 0;
    run.restartCsp();
    expect(await scoreAll(suite, model, run)).toEqual(exact);
    expect(run.calls.map(({ method }) => method).slice(0, 6)).toEqual([
      'score',
      'loadModel',
      'registerKey',
      'registerProviderKey',
      'loadModel',
      'score',
    ]);
    expectFresh(run.calls, SAMPLES.length + 1, 'score');
    expectFresh(run.calls, 2, 'loadModel');
  });

  it('registers its key again where the CSP restarts in the middle of training', async () => {
    const run = await deployment();
    const suite = run.startProvider();
    await suite.train(run.window, 1);
    run.restartCsp();
    run.calls.length = 0;
    const model = modelOf(await suite.train(run.window, 2), 2);
    expectFresh(run.calls, 2, 'shareGram');
    expect(run.calls.filter(({ method }) => method === 'registerProviderKey')).toHaveLength(1);
    expect(await scoreAll(suite, model, run)).toEqual(exact);
  });

  it('goes on with a stored model after a restart of its own, under another key', async () => {
    const run = await deployment();
    const model = modelOf(await run.startProvider().train(run.window, 1));
    const { keys } = run;
    // Any other key will do: here that of the parameters.
    for (const own of [keys.own, keys.csp]) {
      run.calls.length = 0;
      expect(await scoreAll(run.startProvider(own), model, run)).toEqual(exact);
      expect(run.calls.filter(({ method }) => method === 'loadModel')).toHaveLength(1);
      expectFresh(run.calls, SAMPLES.length, 'score');
    }
  });

  it('takes a new model up at once', async () => {
    const run = await deployment();
    const suite = run.startProvider();
    const first = modelOf(await suite.train(run.window, 1), 1);
    expect(await scoreAll(suite, first, run)).toEqual(exact);
    const other = [...SAMPLES, [77n, 99n]];
    const window = [...run.samples, elementAt(run.window, 0)];
    const second = modelOf(await suite.train(window, 2), 2);
    const expected = SAMPLES.map((sample) =>
      exactMd2([...other.slice(0, 4), elementAt(WINDOW, 0)], sample, [1n, 1n]),
    );
    expect(await scoreAll(suite, second, run)).toEqual(expected);
    expect(await scoreAll(suite, first, run)).toEqual(exact);
  });

  it('has no distance for what is no sample of the schema', async () => {
    const run = await deployment();
    const suite = run.startProvider();
    const model = modelOf(await suite.train(run.window, 1));
    const { bcp } = run.keys;
    // A feature that is larger than any sample's.
    const { ciphertexts } = elementAt(run.samples, 0);
    const shifted = ciphertexts.map((item) => bcp.addConstant(item, 1n << 60n));
    expect(await suite.score(model, { sequence: 9, ciphertexts: shifted })).toBeUndefined();
    expect(await scoreAll(suite, model, run)).toEqual(exact);
  });
});
