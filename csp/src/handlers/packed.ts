/** The packed suite: decode, check, play the CSP's role, encode. */
import { maskedOpeningOf } from '@duoveil/common/bcp';
import { decodeChannels, packingPlan, parseWindow } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import type { AdditiveCiphertext, AdditiveKey, AdditiveKeyPair } from '@duoveil/common/paillier';
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
import { implement, parsePatientId, unary, type Service } from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';
import { PackedServiceService, ScoreRequest, type PackingShape } from '@duoveil/proto';

import type { Models, Shape } from '../keys/models.js';
import type { ProviderKeys } from '../keys/provider-keys.js';

/** What the handlers work with. */
export interface PackedEnvironment {
  readonly own: AdditiveKeyPair;
  readonly providers: ProviderKeys;
  readonly models: Models;
  readonly answers: Secret<Uint8Array>;
  readonly random: RandomSource;
}

const options = { roles: ['sp'], timeoutMs: 60_000 } as const;

/** The service, for service providers only. */
export function packedService(environment: PackedEnvironment): Service {
  const { own, providers, models, answers, random } = environment;
  return implement(PackedServiceService, {
    registerProviderKey: unary(options, async ({ modulus, generator }) => ({
      providerKeyId: await providers.register(modulus, generator),
    })),

    shareGram: unary(options, async ({ shape, sums }) => {
      const { role, counts } = roleFor(shape, own);
      const masked = await decode(sums, 'sums', counts.sample, own.key);
      const openings = masked.map((sum) => maskedOpeningOf(sum, undefined));
      const rows = await shareGram(role, openings, random);
      return { rows: encode(rows.flat(), own.key) };
    }),

    invertGram: unary(options, async ({ shape, rows }) => {
      const { role, counts } = roleFor(shape, own);
      const matrix = await decode(rows, 'rows', counts.matrix, own.key);
      const { columns } = await invertGram(role, inLines(matrix, counts.matrixRow), random);
      return { columns: encode(columns.flat(), own.key) };
    }),

    keepCoefficients: unary(options, async (request) => {
      const patient = parsePatientId(request.patientId, 'patient_id');
      const { role, counts, shape } = roleFor(request.shape, own);
      const total = counts.coefficientColumns.reduce((sum, count) => sum + count, 0);
      const masked = await decode(request.coefficients, 'coefficients', total, own.key);
      const provider = providers.find(request.providerKeyId);
      const providerShare = await decodeShare(request.providerShare, counts, provider.key);
      const columns = inLines(masked, counts.coefficientColumns);
      const coefficients = { columns, determinant: undefined };
      const { share, crossTerms } = await keepCoefficients(role, coefficients, random);
      const sealedShare = models.seal(patient, shape, share, random);
      const { providerKeyId } = request;
      return {
        modelId: models.load(sealedShare, providerKeyId, shape, share, provider, providerShare),
        crossTerms: encode(crossTerms, own.key),
        sealedShare,
      };
    }),

    loadModel: unary(options, async (request) => {
      const patient = parsePatientId(request.patientId, 'patient_id');
      const { sealedShare, providerKeyId } = request;
      const { shape, share } = models.unseal(patient, sealedShare);
      const provider = providers.find(providerKeyId);
      const counts = messageCounts(packingPlan(shape.schema, shape.window, own.key.bits));
      const providerShare = await decodeShare(request.providerShare, counts, provider.key);
      return {
        modelId: models.load(sealedShare, providerKeyId, shape, share, provider, providerShare),
      };
    }),

    score: unary(options, async (request) => {
      const { plan, provider, model } = models.find(request.modelId);
      const masked = await decode(request.sample, 'sample', messageCounts(plan).score, own.key);
      // The same request draws the same: a repeated one learns nothing that the first did not.
      const bytes = ScoreRequest.encode(request).finish();
      const drawn = derivedRandom(answers.reveal(), bytes);
      const { answer } = await answerScore({ plan, own }, provider, model, masked, drawn);
      return { answer: provider.key.encode(answer) };
    }),
  });
}

function roleFor(
  message: PackingShape | undefined,
  own: AdditiveKeyPair,
): { role: CryptoServiceProviderRole; counts: MessageCounts; shape: Shape } {
  if (message === undefined) throw messageInvalid('shape', 'must be there');
  const schema = decodeChannels(message.channels, 'shape');
  const window = parseWindow(message.window, schema, 'shape');
  const plan = packingPlan(schema, window, own.key.bits);
  return { role: { plan, own }, counts: messageCounts(plan), shape: { schema, window } };
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
