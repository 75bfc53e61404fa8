import { encodeKey, provePossession } from '@duoveil/common/bcp';
import { encodeChannels, type Schema } from '@duoveil/common/encoding';
import { elementAt } from '@duoveil/common/lists';
import {
  proveWellFormed,
  type AdditiveCiphertext,
  type AdditiveKey,
  type AdditiveKeyPair,
} from '@duoveil/common/paillier';
import {
  acceptScore,
  distanceOfLeverage,
  encryptProviderShare,
  inLines,
  keepCrossTerms,
  maskCoefficients,
  maskGram,
  maskSums,
  messageCounts,
  prepareScore,
  requestScore,
  type CoefficientMasks,
} from '@duoveil/common/protocols/packed';
import { bytesFromInteger, integerFromBytes } from '@duoveil/common/random';
import type { Service } from '@duoveil/common/runtime';
import {
  InvertGramRequest,
  InvertGramResponse,
  KeepCoefficientsRequest,
  KeepCoefficientsResponse,
  LoadModelRequest,
  LoadModelResponse,
  RegisterKeyRequest,
  RegisterKeyResponse,
  RegisterProviderKeyRequest,
  RegisterProviderKeyResponse,
  ScoreRequest,
  ScoreResponse,
  ShareGramRequest,
  ShareGramResponse,
} from '@duoveil/proto';
import { afterAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../../harness/src/local/engine.js';
import { callBytes, together } from '../../../harness/src/local/loopback.js';
import {
  encryptPacked,
  packedKeys,
  packedRoles,
  providerKeyForTests,
  type PackedRoles,
} from '../../../harness/src/local/packed.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { schemaOfBits } from '../../../harness/src/local/schemas.js';
import { exactMd2 } from '../../../harness/src/oracle/model.js';
import type { Discipline } from '../audit/discipline.js';
import { deriveKeys } from '../keys/derived-keys.js';
import { Models } from '../keys/models.js';
import { PatientKeys } from '../keys/patient-keys.js';
import { ProviderKeys } from '../keys/provider-keys.js';
import { Comparisons } from '../sessions/comparisons.js';
import { TransferSessions } from '../sessions/transfers.js';
import { keyService } from './keys.js';
import { packedService } from './packed.js';

const engine = testEngine();
afterAll(() => engine.close());

const schema = schemaOfBits(8, 8);
const WINDOW = [
  [10n, 200n],
  [12n, 210n],
  [11n, 190n],
  [13n, 205n],
];
const SAMPLE = [30n, 180n];
const PATIENT = 'ward-3.bed-12';
const random = new SeededRandom('handlers');
const made = packedKeys(512, engine, random);

/** A CSP without any memory of what was before: the same as after a restart. */
async function freshCsp(): Promise<Service> {
  const { master, csp, bcp } = await made;
  const { sealing, answers } = deriveKeys(master);
  const patientKeys = new PatientKeys(bcp);
  const packed = packedService({
    own: csp,
    keys: patientKeys,
    providers: new ProviderKeys(engine, 512, answers),
    models: new Models(sealing, 512, master.parameters.digest),
    answers,
    random,
    discipline: {
      answer: (...[, , , , work]: unknown[]) => (work as () => unknown)(),
    } as unknown as Discipline,
    sessions: new TransferSessions(random),
    comparisons: new Comparisons(random),
  });
  return together(packed, keyService(bcp, patientKeys));
}

/** A patient's key as a CSP registers it, with the proof that its gateway made. */
async function registration(patientId: string) {
  const { bcp, keys } = await made;
  const proof = await provePossession(bcp, keys, patientId, random);
  const { publicKey, ...proved } = encodeKey(keys.publicKey, proof, bcp.parameters);
  const parametersDigest = Buffer.from(bcp.parameters.digest, 'hex');
  return { patientId, parametersDigest, publicKey: { h: publicKey }, proof: proved };
}

interface Codec<Message> {
  fromPartial(object: object): Message;
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

const caller =
  <Request, Response>(method: string, request: Codec<Request>, response: Codec<Response>) =>
  async (service: Service, fields: object): Promise<Response> =>
    response.decode(
      await callBytes(
        service,
        method,
        Buffer.from(request.encode(request.fromPartial(fields)).finish()),
      ),
    );

const call = {
  registerKey: caller('registerKey', RegisterKeyRequest, RegisterKeyResponse),
  register: caller('registerProviderKey', RegisterProviderKeyRequest, RegisterProviderKeyResponse),
  shareGram: caller('shareGram', ShareGramRequest, ShareGramResponse),
  invertGram: caller('invertGram', InvertGramRequest, InvertGramResponse),
  keep: caller('keepCoefficients', KeepCoefficientsRequest, KeepCoefficientsResponse),
  load: caller('loadModel', LoadModelRequest, LoadModelResponse),
  score: caller('score', ScoreRequest, ScoreResponse),
};

const shapeOf = (of: Schema, window: number) => ({ channels: encodeChannels(of), window });
const shape = shapeOf(schema, WINDOW.length);
const encode = (key: AdditiveKey, list: readonly AdditiveCiphertext[]) =>
  list.map((item) => key.encode(item));

/** A provider key as it travels. */
async function identityOf({ key, opening }: AdditiveKeyPair) {
  const roots = await proveWellFormed(key.modulus, opening);
  return {
    modulus: bytesFromInteger(key.modulus, 64),
    generator: bytesFromInteger(key.generator, 128),
    roots: roots.map((root) => bytesFromInteger(root, 64)),
  };
}

/** Training over the wire; every request is kept. */
async function trained() {
  const roles: PackedRoles = packedRoles(await made, schema, WINDOW.length);
  const { plan, sp, floors, keys } = roles;
  const counts = messageCounts(plan);
  const service = await freshCsp();
  const { key } = sp.own;
  const identity = await identityOf(sp.own);
  const { providerKeyId } = await call.register(service, identity);
  const { keyId } = await call.registerKey(service, await registration(PATIENT));

  const encrypted = await encryptPacked(roles, WINDOW, random);
  const sums = await keys.bcp.sums(
    Array.from({ length: plan.plaintexts }, (_, i) => encrypted.map((list) => elementAt(list, i))),
  );
  const first = await maskSums(sp, sums, random);
  const shareGram = {
    shape,
    sums: encode(
      sp.csp,
      first.openings.map(({ b }) => b as AdditiveCiphertext),
    ),
  };
  const { rows } = await call.shareGram(service, shareGram);
  const gram = inLines(await sp.csp.decode(rows, 'rows'), counts.matrixRow);
  const second = await maskGram(sp, floors, first.masks, gram, random);
  const invertGram = { shape, rows: encode(sp.csp, second.matrix.flat()) };
  const { columns } = await call.invertGram(service, invertGram);
  const inverse = {
    columns: inLines(await sp.csp.decode(columns, 'columns'), counts.inverseColumn),
    determinant: undefined,
  };
  const third = await maskCoefficients(sp, second.mask, inverse, random);
  const share: CoefficientMasks = third.share;
  const keep = {
    keyId,
    modelNumber: 1,
    shape,
    coefficients: encode(sp.csp, third.coefficients.columns.flat()),
    providerKeyId,
    providerShare: encode(key, await encryptProviderShare(key, share, random, plan)),
  };
  const kept = await call.keep(service, keep);
  const crossTerms = keepCrossTerms(sp, await sp.csp.decode(kept.crossTerms, 'cross_terms'));
  return {
    roles,
    service,
    identity,
    shareGram,
    invertGram,
    keep,
    kept,
    model: { share, crossTerms },
  };
}

type Trained = Awaited<ReturnType<typeof trained>>;

async function request({ roles, kept, model }: Trained) {
  const prepared = await prepareScore(roles.sp, model, random);
  const [sample = []] = await encryptPacked(roles, [SAMPLE], random);
  const masked = requestScore(roles.sp, sample, prepared);
  const fields = { modelId: kept.modelId, sample: encode(roles.sp.csp, masked.request) };
  const accept = async (answer: Uint8Array) => {
    const decoded = elementAt(await roles.sp.own.key.decode([answer], 'answer'), 0);
    const leverage = await acceptScore(roles.sp, model, masked.pending, decoded);
    return distanceOfLeverage(leverage, roles.plan, schema);
  };
  return { fields, accept };
}

const exact = exactMd2(WINDOW, SAMPLE, [1n, 1n]);

describe('the packed handlers', () => {
  it('train and score exactly, over the wire', async () => {
    const run = await trained();
    const { fields, accept } = await request(run);
    const { answer } = await call.score(run.service, fields);
    expect(await accept(answer)).toEqual(exact);
  });

  it('answer the same request alike, also after a restart, and another one otherwise', async () => {
    const run = await trained();
    const { fields } = await request(run);
    const { answer } = await call.score(run.service, fields);
    expect((await call.score(run.service, fields)).answer).toEqual(answer);

    const again = await freshCsp();
    await call.register(again, run.identity);
    await call.registerKey(again, await registration(PATIENT));
    const loaded = await call.load(again, { ...run.keep, sealedShare: run.kept.sealedShare });
    expect(loaded.modelId).toEqual(run.kept.modelId);
    expect((await call.score(again, fields)).answer).toEqual(answer);

    // The same plaintexts, another element: the randomness of the answer is another altogether.
    const { csp, own } = run.roles.sp;
    const [first = Buffer.alloc(0), ...rest] = fields.sample;
    const element = elementAt(await csp.decode([first], 'sample'), 0);
    const changed = csp.sum(element, elementAt(await csp.zeros(1, 256, random), 0));
    const other = await call.score(run.service, {
      ...fields,
      sample: [csp.encode(changed), ...rest],
    });
    const residue = (bytes: Uint8Array) => integerFromBytes(bytes) % own.key.modulus;
    expect(residue(other.answer)).not.toBe(residue(answer));
    const opened = await own.opening.open([other.answer, answer].map(integerFromBytes));
    const P = run.roles.plan.field.order;
    expect(opened.map((value) => value % P)[0]).toBe(opened.map((value) => value % P)[1]);
    expect(opened[0]).not.toBe(opened[1]);
  });

  it('answer differently for another model of the same patient', async () => {
    const run = await trained();
    const { fields, accept } = await request(run);
    const { providerShare } = run.keep;
    const { key } = run.roles.sp.own;
    const fresh = encode(
      key,
      await encryptProviderShare(key, run.model.share, random, run.roles.plan),
    );
    expect(fresh).not.toEqual(providerShare);
    const { sealedShare } = run.kept;
    const other = await call.load(run.service, {
      ...run.keep,
      sealedShare,
      providerShare: fresh,
    });
    expect(other.modelId).not.toEqual(run.kept.modelId);
    const first = await call.score(run.service, fields);
    const second = await call.score(run.service, { ...fields, modelId: other.modelId });
    expect(second.answer).not.toEqual(first.answer);
    expect(await accept(second.answer)).toEqual(exact);
  });

  it('say what they have forgotten: the model, or either key', async () => {
    const run = await trained();
    const { fields } = await request(run);
    const again = await freshCsp();
    await expect(call.score(again, fields)).rejects.toMatchObject({ code: 'MODEL_NOT_LOADED' });
    const load = { ...run.keep, sealedShare: run.kept.sealedShare };
    const attempts = [() => call.load(again, load), () => call.keep(again, run.keep)];
    const refused = async () => {
      for (const attempt of attempts) {
        await expect(attempt()).rejects.toMatchObject({ code: 'KEY_NOT_REGISTERED' });
      }
    };
    await refused();
    await call.registerKey(again, await registration(PATIENT));
    await refused();
    const yetAgain = await freshCsp();
    await call.register(yetAgain, run.identity);
    for (const keyId of [run.keep.keyId, Buffer.alloc(0), Buffer.alloc(33)]) {
      await expect(call.load(yetAgain, { ...load, keyId })).rejects.toMatchObject({
        code: 'KEY_NOT_REGISTERED',
      });
    }
  });

  it('open a sealed share for its key, its model number and parameters only, and fail alike otherwise', async () => {
    const run = await trained();
    const { sealedShare } = run.kept;
    const flipped = Buffer.from(sealedShare);
    flipped[20] = (flipped[20] ?? 0) ^ 1;
    const load = { ...run.keep, sealedShare };
    const { keyId } = await call.registerKey(run.service, await registration('ward-3.bed-13'));
    const bad = [
      { ...load, keyId },
      { ...load, modelNumber: 2 },
      { ...load, sealedShare: flipped },
      { ...load, sealedShare: sealedShare.subarray(0, -1) },
      { ...load, sealedShare: Buffer.alloc(0) },
    ];
    const errors = await Promise.all(
      bad.map((fields) => call.load(run.service, fields).catch((error: unknown) => error)),
    );
    for (const error of errors) {
      expect(error).toMatchObject({
        code: 'UNSEALING_FAILED',
        message: 'the sealed share does not open',
      });
    }
  });

  it('answer a matrix that has no inverse like any other: with zeros', async () => {
    const { service, roles, invertGram } = await trained();
    const { csp } = roles.sp;
    const zeros = await csp.encrypt(
      invertGram.rows.map(() => 0n),
      random,
    );
    const { columns } = await call.invertGram(service, { shape, rows: encode(csp, zeros) });
    const honest = await call.invertGram(service, invertGram);
    expect(columns).toHaveLength(honest.columns.length);
    const opened = await roles.keys.csp.opening.open(await csp.decode(columns, 'columns'));
    expect(opened).toEqual(columns.map(() => 0n));
  });

  it('refuse shapes that are missing or out of bounds', async () => {
    const { service, shareGram } = await trained();
    const nine = Array.from({ length: 9 }, (_, i) => ({ ...shape.channels[0], name: `C${i}` }));
    const shapes: readonly (readonly [object | undefined, string])[] = [
      [undefined, 'MESSAGE_INVALID'],
      [{ ...shape, window: 3 }, 'SCHEMA_INVALID'],
      [{ ...shape, window: 4097 }, 'SCHEMA_INVALID'],
      [{ ...shape, window: 0 }, 'SCHEMA_INVALID'],
      [{ ...shape, channels: [] }, 'SCHEMA_INVALID'],
      [{ ...shape, channels: nine, window: 20 }, 'SCHEMA_INVALID'],
      [shapeOf(schemaOfBits(24, 24, 24, 24), 60), 'BOUNDS_EXCEEDED'],
    ];
    for (const [wrong, code] of shapes) {
      const fields = { sums: shareGram.sums, ...(wrong === undefined ? {} : { shape: wrong }) };
      await expect(call.shareGram(service, fields)).rejects.toMatchObject({ code });
    }
  });

  it('refuse a wrong number of elements, wherever elements are sent', async () => {
    const run = await trained();
    const { service, shareGram, invertGram, keep, kept } = run;
    const { fields } = await request(run);
    const load = { ...keep, sealedShare: kept.sealedShare };
    const one = (list: readonly Buffer[]) => list.slice(1);
    const more = (list: readonly Buffer[]) => [...list, elementAt(list, 0)];
    for (const change of [one, more, () => []]) {
      const attempts: readonly (readonly [() => Promise<unknown>, string])[] = [
        [() => call.shareGram(service, { ...shareGram, sums: change(shareGram.sums) }), 'sums'],
        [() => call.invertGram(service, { ...invertGram, rows: change(invertGram.rows) }), 'rows'],
        [
          () => call.keep(service, { ...keep, coefficients: change(keep.coefficients) }),
          'coefficients',
        ],
        [
          () => call.keep(service, { ...keep, providerShare: change(keep.providerShare) }),
          'provider_share',
        ],
        [
          () => call.load(service, { ...load, providerShare: change(keep.providerShare) }),
          'provider_share',
        ],
        [() => call.score(service, { ...fields, sample: change(fields.sample) }), 'sample'],
      ];
      for (const [attempt, field] of attempts) {
        await expect(attempt()).rejects.toMatchObject({
          code: 'MESSAGE_INVALID',
          details: { field },
        });
      }
    }
  });

  it('refuse elements that are 0, not below N², outside the group, or of another width', async () => {
    const run = await trained();
    const { service, shareGram, invertGram, keep, roles } = run;
    const { fields } = await request(run);
    const invalid = async (key: AdditiveKey) => {
      let outside = 2n;
      while ((await engine.jacobi([outside], key.modulus))[0] !== -1) outside++;
      return [
        Buffer.alloc(128),
        bytesFromInteger(key.modulus ** 2n, 128),
        Buffer.alloc(128, 0xff),
        bytesFromInteger(key.modulus, 128),
        bytesFromInteger(outside, 128),
        bytesFromInteger(4n, 127),
        bytesFromInteger(4n, 129),
        Buffer.alloc(0),
      ];
    };
    const last = (list: readonly Buffer[], element: Buffer) => [...list.slice(0, -1), element];
    for (const bad of await invalid(roles.sp.csp)) {
      const attempts = [
        () => call.shareGram(service, { ...shareGram, sums: last(shareGram.sums, bad) }),
        () => call.invertGram(service, { ...invertGram, rows: last(invertGram.rows, bad) }),
        () => call.keep(service, { ...keep, coefficients: last(keep.coefficients, bad) }),
        () => call.score(service, { ...fields, sample: last(fields.sample, bad) }),
      ];
      for (const attempt of attempts) {
        await expect(attempt()).rejects.toMatchObject({ code: 'CIPHERTEXT_INVALID' });
      }
    }
    for (const bad of await invalid(roles.sp.own.key)) {
      const attempt = () =>
        call.keep(service, { ...keep, providerShare: last(keep.providerShare, bad) });
      await expect(attempt()).rejects.toMatchObject({ code: 'CIPHERTEXT_INVALID' });
    }
  });

  it('refuse a patient that is no pseudonym, and a model without a number', async () => {
    const { service, keep, kept } = await trained();
    const registered = await registration(PATIENT);
    for (const patientId of ['', '..', 'Jane Doe', 'a/b']) {
      await expect(call.registerKey(service, { ...registered, patientId })).rejects.toMatchObject({
        code: 'MESSAGE_INVALID',
        details: { field: 'patient_id' },
      });
    }
    for (const attempt of [
      () => call.keep(service, { ...keep, modelNumber: 0 }),
      () => call.load(service, { ...keep, sealedShare: kept.sealedShare, modelNumber: 0 }),
    ]) {
      await expect(attempt()).rejects.toMatchObject({
        code: 'MESSAGE_INVALID',
        details: { field: 'model_number' },
      });
    }
  });

  it('keep models of several providers apart', async () => {
    const run = await trained();
    const other = await providerKeyForTests(512, engine, new SeededRandom('another provider'));
    const { providerKeyId } = await call.register(run.service, await identityOf(other));
    expect(providerKeyId).not.toEqual(run.keep.providerKeyId);
    const share = await encryptProviderShare(other.key, run.model.share, random, run.roles.plan);
    const { modelId } = await call.load(run.service, {
      ...run.keep,
      sealedShare: run.kept.sealedShare,
      providerKeyId,
      providerShare: encode(other.key, share),
    });
    expect(modelId).not.toEqual(run.kept.modelId);
    const { fields, accept } = await request(run);
    expect(await accept((await call.score(run.service, fields)).answer)).toEqual(exact);
  });
});
