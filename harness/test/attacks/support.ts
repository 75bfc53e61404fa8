/** A CSP with its real handlers, budgets and audit log in this process, and a dishonest caller's tools. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { encodeChannels, type Schema } from '@duoveil/common/encoding';
import { isDuoveilError } from '@duoveil/common/errors';
import { AdditiveKey } from '@duoveil/common/paillier';
import type { RandomSource } from '@duoveil/common/random';
import type { Clock, Service } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import * as proto from '@duoveil/proto';

import { AuditLog } from '../../../csp/src/audit/audit-log.js';
import { Budgets, type Allowance } from '../../../csp/src/audit/budgets.js';
import { Discipline } from '../../../csp/src/audit/discipline.js';
import { arithmeticService } from '../../../csp/src/handlers/arithmetic.js';
import { keyService } from '../../../csp/src/handlers/keys.js';
import { packedService } from '../../../csp/src/handlers/packed.js';
import { deriveBudgetsKey, deriveKeys } from '../../../csp/src/keys/derived-keys.js';
import { Models } from '../../../csp/src/keys/models.js';
import { PatientKeys } from '../../../csp/src/keys/patient-keys.js';
import { ProviderKeys } from '../../../csp/src/keys/provider-keys.js';
import { Comparisons } from '../../../csp/src/sessions/comparisons.js';
import { TransferSessions } from '../../../csp/src/sessions/transfers.js';
import { testEngine } from '../../src/local/engine.js';
import { callBytes, together } from '../../src/local/loopback.js';
import type { PackedKeys } from '../../src/local/packed.js';

export const engine = testEngine();

/** It stands still: no budget is renewed while a test runs. */
const clock: Clock = { now: () => new Date(Date.UTC(2026, 2, 3, 12)), monotonicMs: () => 0 };

const UNBOUNDED: Allowance = { perMinute: 0, perDay: 0 };

/** What a CSP allows. */
export interface CspPolicy {
  readonly allowDistance?: boolean;
  readonly patient?: Allowance;
  readonly provider?: Allowance;
}

/** A CSP, whole but for network and process. */
export interface TestCsp {
  /** With the registration of patients' keys, that packed models are bound to. */
  readonly packed: Service;
  readonly arithmetic: Service;
  readonly keys: Service;
  /** The audit log so far. */
  readonly audited: () => Promise<string>;
  readonly directory: string;
  readonly close: () => Promise<void>;
}

/** The same master key, nothing remembered: a CSP after its start. */
export async function startCsp(
  keys: PackedKeys,
  random: RandomSource,
  { allowDistance = false, patient = UNBOUNDED, provider = UNBOUNDED }: CspPolicy = {},
): Promise<TestCsp> {
  const directory = await mkdtemp(join(tmpdir(), 'duoveil-attack-'));
  const { bits, digest } = keys.master.parameters;
  const { sealing, answers } = deriveKeys(keys.master);
  const budgetKey = deriveBudgetsKey(new Secret(new Uint8Array(32)));
  const auditFile = join(directory, 'audit.log');
  const audit = await AuditLog.open(auditFile, clock);
  const file = join(directory, 'budgets.json');
  const budgets = await Budgets.open({ file, key: budgetKey, patient, provider, clock });
  const discipline = new Discipline(allowDistance, budgets, audit, clock);
  const { bcp, decryption } = keys;
  const registered = new PatientKeys(bcp);
  const keyed = keyService(bcp, registered);
  const packed = packedService({
    own: keys.csp,
    keys: registered,
    providers: new ProviderKeys(engine, bits, answers),
    models: new Models(sealing, bits, digest),
    answers,
    random,
    discipline,
    sessions: new TransferSessions(random),
    comparisons: new Comparisons(random),
  });
  return {
    packed: together(keyed, packed),
    arithmetic: arithmeticService({ bcp, keys: registered, decryption, random, discipline }),
    keys: keyed,
    audited: () => readFile(auditFile, 'utf8'),
    directory,
    close: async () => {
      await audit.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

interface Codec<Message> {
  fromPartial(object: object): Message;
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

/** A call of a unary method with fields that need not be a whole message: they travel as bytes. */
const caller =
  <Request, Response>(method: string, request: Codec<Request>, response: Codec<Response>) =>
  async (service: Service, fields: object): Promise<Response> => {
    const bytes = Buffer.from(request.encode(request.fromPartial(fields)).finish());
    return response.decode(await callBytes(service, method, bytes));
  };

export const call = {
  registerKey: caller('registerKey', proto.RegisterKeyRequest, proto.RegisterKeyResponse),
  divide: caller('divide', proto.DivideRequest, proto.DivideResponse),
  subtract: caller('subtract', proto.SubtractRequest, proto.SubtractResponse),
  multiply: caller('multiply', proto.MultiplyRequest, proto.MultiplyResponse),
  invertMatrix: caller('invertMatrix', proto.InvertMatrixRequest, proto.InvertMatrixResponse),
  open: caller('open', proto.OpenRequest, proto.OpenResponse),
  registerProvider: caller(
    'registerProviderKey',
    proto.RegisterProviderKeyRequest,
    proto.RegisterProviderKeyResponse,
  ),
  shareGram: caller('shareGram', proto.ShareGramRequest, proto.ShareGramResponse),
  invertGram: caller('invertGram', proto.InvertGramRequest, proto.InvertGramResponse),
  keep: caller('keepCoefficients', proto.KeepCoefficientsRequest, proto.KeepCoefficientsResponse),
  load: caller('loadModel', proto.LoadModelRequest, proto.LoadModelResponse),
  offer: caller('offerTransfers', proto.OfferTransfersRequest, proto.OfferTransfersResponse),
  choose: caller('chooseTransfers', proto.ChooseTransfersRequest, proto.ChooseTransfersResponse),
  score: caller('score', proto.ScoreRequest, proto.ScoreResponse),
  compare: caller('compare', proto.CompareRequest, proto.CompareResponse),
};

/** A shape as it travels. */
export function shapeOf(schema: Schema, window: number, thresholdsScaled: readonly bigint[] = []) {
  return { channels: encodeChannels(schema), window, thresholdsScaled };
}

/** The code of the error that something fails with; undefined where it does not fail. */
export async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (isDuoveilError(error)) return error.code;
    throw error;
  }
}

/** An additive key over any modulus, also one that nobody should use. */
export function keyOver(modulus: bigint, generator: bigint): AdditiveKey {
  return new AdditiveKey({ modulus, generator }, engine);
}
