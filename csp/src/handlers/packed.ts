/** The packed suite: decode, check, play the CSP's role, encode. */
import { maskedOpeningOf } from '@duoveil/common/bcp';
import {
  decodeChannels,
  MAX_LEVEL,
  MAX_THRESHOLD_SCALED,
  parseWindow,
} from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import type { AdditiveCiphertext, AdditiveKey, AdditiveKeyPair } from '@duoveil/common/paillier';
import { evaluateComparison, requestComparison } from '@duoveil/common/protocols/compare';
import {
  answerScore,
  inLines,
  invertGram,
  keepCoefficients,
  messageCounts,
  shareGram,
  type CryptoServiceProviderRole,
  type MessageCounts,
} from '@duoveil/common/protocols/packed';
import { derivedRandom, type RandomSource } from '@duoveil/common/random';
import {
  formatIdentity,
  implement,
  metrics,
  unary,
  type CallContext,
  type Service,
} from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';
import { PackedServiceService, ScoreRequest, type PackingShape } from '@duoveil/proto';

import type { Discipline } from '../audit/discipline.js';
import { planOf, type Models, type Shape, type ShareBinding } from '../keys/models.js';
import type { PatientKeys } from '../keys/patient-keys.js';
import type { ProviderKeys } from '../keys/provider-keys.js';
import type { Comparisons } from '../sessions/comparisons.js';
import type { TransferSessions } from '../sessions/transfers.js';

/** What the handlers work with. */
export interface PackedEnvironment {
  readonly own: AdditiveKeyPair;
  readonly keys: PatientKeys;
  readonly providers: ProviderKeys;
  readonly models: Models;
  readonly answers: Secret<Uint8Array>;
  readonly random: RandomSource;
  readonly discipline: Discipline;
  readonly sessions: TransferSessions;
  readonly comparisons: Comparisons;
}

/** Who may make the calls, and for how long. */
export const packedOptions = { roles: ['sp'], timeoutMs: 60_000 } as const;

/** The service, for service providers only. */
export function packedService(environment: PackedEnvironment): Service {
  const { own, keys, providers, models, answers, random, discipline, sessions, comparisons } =
    environment;

  return implement(PackedServiceService, {
    registerProviderKey: unary(packedOptions, async ({ modulus, generator, roots }) => ({
      providerKeyId: await providers.register(modulus, generator, roots),
    })),

    shareGram: unary(packedOptions, async ({ shape, sums }) => {
      const { role, counts } = roleFor(shape, own);
      const masked = await decodeMasked(sums, 'sums', counts.sample, own.key);
      const openings = masked.map((sum) => maskedOpeningOf(sum, undefined));
      const rows = await shareGram(role, openings, random);
      return { rows: encode(rows.flat(), own.key) };
    }),

    invertGram: unary(packedOptions, async ({ shape, rows }) => {
      const { role, counts } = roleFor(shape, own);
      const matrix = await decodeMasked(rows, 'rows', counts.matrix, own.key);
      const gram = inLines(matrix, counts.matrixRow);
      const { columns, determinant } = await invertGram(role, gram, random);
      return {
        columns: encode(columns.flat(), own.key),
        determinant: determinant === undefined ? Buffer.alloc(0) : own.key.encode(determinant),
      };
    }),

    keepCoefficients: unary(packedOptions, async (request, context) => {
      const owner = keys.find(request.keyId);
      const { role, counts, shape } = roleFor(request.shape, own);
      const total = counts.coefficientColumns.reduce((sum, count) => sum + count, 0);
      const masked = await decodeMasked(request.coefficients, 'coefficients', total, own.key);
      const provider = providers.find(request.providerKeyId);
      const providerShare = await decodeShare(request.providerShare, counts, provider.key);
      const columns = inLines(masked, counts.coefficientColumns);
      const determinant = await decodeDeterminant(request.determinant, shape, own.key);
      const coefficients = { columns, determinant };
      const { share, crossTerms } = await keepCoefficients(role, coefficients, random);
      const sealedShare = models.seal(bindingOf(request, context), shape, share, random);
      const { providerKeyId } = request;
      return {
        modelId: models.load(
          owner,
          sealedShare,
          providerKeyId,
          shape,
          share,
          provider,
          providerShare,
        ),
        crossTerms: encode(crossTerms, own.key),
        sealedShare,
      };
    }),

    loadModel: unary(packedOptions, async (request, context) => {
      const owner = keys.find(request.keyId);
      const { sealedShare, providerKeyId } = request;
      const { shape, share } = models.unseal(bindingOf(request, context), sealedShare);
      const provider = providers.find(providerKeyId);
      const counts = messageCounts(planOf(shape, own.key.bits));
      const providerShare = await decodeShare(request.providerShare, counts, provider.key);
      return {
        modelId: models.load(
          owner,
          sealedShare,
          providerKeyId,
          shape,
          share,
          provider,
          providerShare,
        ),
      };
    }),

    score: unary(packedOptions, async (request, context) => {
      const { plan, owner, provider, model } = models.find(request.modelId);
      const output = plan.level === undefined ? 'distance' : 'level';
      const sample = await decode(request.sample, 'sample', messageCounts(plan).score, own.key);
      const { sessionId, instance } = request;
      const receiver = output === 'level' ? sessions.use(sessionId, instance) : undefined;
      const role = { plan, own };
      return discipline.answer('Score', output, owner, context, async () => {
        metrics.openings.add(sample.length, { 'duoveil.suite': 'packed' });
        if (receiver === undefined) {
          // The same request draws the same: a repeated one learns nothing that the first did not.
          const drawn = derivedRandom(answers.reveal(), scoreContext(request));
          const { answer } = await answerScore(role, provider, model, sample, drawn);
          return { answer: provider.key.encode(answer), comparison: undefined };
        }
        const zero = provider.pool.take();
        const scored = await answerScore(role, provider, model, sample, random, zero);
        const shares = { numerator: scored.share, determinant: model.share.determinant };
        const { pending, message } = requestComparison(receiver, plan, shares, instance);
        return {
          answer: provider.key.encode(scored.answer),
          comparison: { comparisonId: comparisons.add(pending), labels: Buffer.from(message) },
        };
      });
    }),

    offerTransfers: unary(packedOptions, () => {
      const { id, message } = sessions.offer();
      return Promise.resolve({ sessionId: id, offer: Buffer.from(message) });
    }),

    chooseTransfers: unary(packedOptions, async ({ sessionId, choices }) => {
      await sessions.choose(sessionId, choices);
      return {};
    }),

    compare: unary(packedOptions, ({ comparisonId, hashKey, tables }) => {
      const colours = evaluateComparison(comparisons.take(comparisonId), { hashKey, tables });
      return Promise.resolve({
        colours: colours.reduce((bits, colour, i) => bits | (Number(colour) << i), 0),
      });
    }),
  });
}

/** @throws DuoveilError `MESSAGE_INVALID` */
function bindingOf(
  { keyId, modelNumber }: { readonly keyId: Uint8Array; readonly modelNumber: number },
  { identity }: CallContext,
): ShareBinding {
  if (modelNumber < 1) throw messageInvalid('model_number', 'must be at least 1');
  return {
    keyId: Buffer.from(keyId).toString('hex'),
    provider: formatIdentity(identity),
    number: modelNumber,
  };
}

function roleFor(
  message: PackingShape | undefined,
  own: AdditiveKeyPair,
): { role: CryptoServiceProviderRole; counts: MessageCounts; shape: Shape } {
  if (message === undefined) throw messageInvalid('shape', 'must be there');
  const schema = decodeChannels(message.channels, 'shape');
  const window = parseWindow(message.window, schema, 'shape');
  const shape = { schema, window, thresholds: thresholdsOf(message.thresholdsScaled) };
  const plan = planOf(shape, own.key.bits);
  return { role: { plan, own }, counts: messageCounts(plan), shape };
}

/** Ascending thresholds for level output; none for distance output. */
function thresholdsOf(scaled: readonly bigint[]): bigint[] | undefined {
  if (scaled.length === 0) return undefined;
  const ascending = scaled.every((threshold, i) => threshold > (scaled[i - 1] ?? 0n));
  const last = scaled.at(-1) ?? 0n;
  if (!ascending || scaled.length > MAX_LEVEL || last > MAX_THRESHOLD_SCALED) {
    throw messageInvalid('shape.thresholds_scaled', 'must be ascending, positive and at most 15');
  }
  return [...scaled];
}

async function decodeDeterminant(
  element: Uint8Array,
  { thresholds }: Shape,
  key: AdditiveKey,
): Promise<AdditiveCiphertext | undefined> {
  const expected = thresholds === undefined ? 0 : 1;
  const elements = element.length === 0 ? [] : [element];
  const [determinant] = await decodeMasked(elements, 'determinant', expected, key);
  return determinant;
}

/** What the randomness of a distance output's answer is derived from: model and masked sample. */
function scoreContext({ modelId, sample }: ScoreRequest): Uint8Array {
  return Buffer.concat([
    Buffer.from('score/'),
    ScoreRequest.encode({ modelId, sample, sessionId: Buffer.alloc(0), instance: 0 }).finish(),
  ]);
}

async function decode(
  elements: readonly Uint8Array[],
  field: string,
  count: number,
  key: AdditiveKey,
): Promise<AdditiveCiphertext[]> {
  if (elements.length !== count) throw messageInvalid(field, `must have ${String(count)} elements`);
  return key.decode(elements, field);
}

/** What is going to be opened. */
async function decodeMasked(
  elements: readonly Uint8Array[],
  field: string,
  count: number,
  key: AdditiveKey,
): Promise<AdditiveCiphertext[]> {
  const masked = await decode(elements, field, count, key);
  metrics.openings.add(count, { 'duoveil.suite': 'packed' });
  return masked;
}

function decodeShare(
  elements: readonly Uint8Array[],
  { features }: MessageCounts,
  key: AdditiveKey,
): Promise<AdditiveCiphertext[]> {
  return decode(elements, 'provider_share', features, key);
}

function encode(elements: readonly AdditiveCiphertext[], key: AdditiveKey): Buffer[] {
  return elements.map((element) => key.encode(element));
}

function messageInvalid(field: string, requirement: string): Error {
  return duoveilError('MESSAGE_INVALID', `${field} ${requirement}`, { field });
}
