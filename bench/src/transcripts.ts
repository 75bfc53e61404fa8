/** Both servers' roles in one process: what a training and a score ask of the arithmetic. */
import { decodeCiphertexts, encodeCiphertext, KeyedBcp } from '@duoveil/common/bcp';
import {
  distanceBounds,
  packingPlan,
  reconstruct,
  scaleOf,
  type Rational,
  type Schema,
} from '@duoveil/common/encoding';
import { elementAt } from '@duoveil/common/lists';
import type { ModularEngine } from '@duoveil/common/modular';
import {
  AdditiveKey,
  CrtOpening,
  generateAdditiveKey,
  type AdditiveCiphertext,
} from '@duoveil/common/paillier';
import * as packed from '@duoveil/common/protocols/packed';
import * as reference from '@duoveil/common/protocols/reference';
import { uniformBelow, type RandomSource } from '@duoveil/common/random';
import { LocalBlindedArithmetic, localParties, type TestModulusBits } from '@duoveil/harness/local';

/** What to play. */
export interface Script {
  readonly bits: TestModulusBits;
  readonly schema: Schema;
  /** Quantised samples that make the window, and one to be scored. */
  readonly window: readonly (readonly bigint[])[];
  readonly sample: readonly bigint[];
}

/** A suite at work, step by step. Playing a step again is a new patient, or another sample. */
export interface Transcript {
  /** Take a sample in and validate it. */
  ingest(): Promise<void>;
  train(): Promise<void>;
  /** Score the sample, with all that the servers prepare ahead; after a training. */
  score(): Promise<Rational | undefined>;
}

/**
 * The packed suite. Every message is encoded and decoded between the roles, so that it is validated
 * as it is in the servers.
 */
export async function packedTranscript(
  { bits, schema, window, sample }: Script,
  engine: ModularEngine,
  random: RandomSource,
): Promise<Transcript> {
  const { master, bcp, key } = await localParties(bits, 'residue', engine, random);
  const { parameters } = bcp;
  const plan = packingPlan(schema, window.length, bits);
  const counts = packed.messageCounts(plan);
  const floors = schema.channels.map((channel) => scaleOf(channel).F);

  const own = await generateAdditiveKey(bits, engine, random);
  const sp = { plan, csp: new AdditiveKey(parameters, engine), own };
  const csp = {
    plan,
    own: {
      key: new AdditiveKey(parameters, engine),
      opening: new CrtOpening(master.factors, engine),
    },
  };
  const provider = await providerKeyOf(own.key, engine, random);

  const learnt = await packed.encryptSamples(plan, key, window, random);
  const [scored = []] = await packed.encryptSamples(plan, key, [sample], random);
  let model: { readonly sp: packed.ProviderModel; readonly csp: packed.CspModel } | undefined;

  return {
    ingest: async () => {
      const encoded = scored.map((part) => encodeCiphertext(part, parameters));
      await decodeCiphertexts(encoded, 'sample', parameters, engine);
    },

    train: async () => {
      // A new patient: nothing is kept yet for powers of the key.
      const role = { ...sp, patient: new KeyedBcp(bcp, key.publicKey) };
      const sums = await bcp.sums(
        Array.from({ length: plan.plaintexts }, (_, i) =>
          learnt.map((parts) => elementAt(parts, i)),
        ),
      );
      const { openings, masks } = await packed.maskSums(role, sums, random);
      await travel(
        openings.map(({ b }) => b as AdditiveCiphertext),
        csp.own.key,
      );

      const rows = await packed.shareGram(csp, openings, random);
      const gram = packed.inLines(await travel(rows.flat(), sp.csp), counts.matrixRow);
      const { matrix, mask } = await packed.maskGram(role, floors, masks, gram, random);
      const masked = packed.inLines(await travel(matrix.flat(), csp.own.key), counts.matrixRow);

      const inverted = await packed.invertGram(csp, masked, random);
      const columns = packed.inLines(
        await travel(inverted.columns.flat(), sp.csp),
        counts.inverseColumn,
      );
      const inverse = { columns, determinant: inverted.determinant };
      const { coefficients, share } = await packed.maskCoefficients(role, mask, inverse, random);
      const encrypted = await packed.encryptProviderShare(own.key, share, random, plan);
      const lines = packed.inLines(
        await travel(coefficients.columns.flat(), csp.own.key),
        counts.coefficientColumns,
      );
      const providerShare = await travel(encrypted, provider.key);

      const received = { columns: lines, determinant: coefficients.determinant };
      const kept = await packed.keepCoefficients(csp, received, random);
      const crossTerms = await travel(kept.crossTerms, sp.csp);
      model = {
        sp: { share, crossTerms: packed.keepCrossTerms(role, crossTerms) },
        csp: {
          share: kept.share,
          providerShare: packed.keepProviderShare(plan, provider, providerShare),
        },
      };
    },

    score: async () => {
      if (model === undefined) throw new Error('there is no model to score against');
      const role = { ...sp, patient: key };
      const prepared = await packed.prepareScore(role, model.sp, random);
      const { request, pending } = packed.requestScore(role, scored, prepared);
      const arrived = await travel(request, csp.own.key);
      const { answer } = await packed.answerScore(csp, provider, model.csp, arrived, random);
      const returned = elementAt(await travel([answer], own.key), 0);
      const leverage = await packed.acceptScore(role, model.sp, pending, returned);
      return packed.distanceOfLeverage(leverage, plan, schema);
    },
  };
}

/** The reference suite, without the validation of its messages. */
export async function referenceTranscript(
  { bits, schema, window, sample }: Script,
  engine: ModularEngine,
  random: RandomSource,
): Promise<Transcript> {
  const parties = await localParties(bits, 'residue', engine, random);
  const { bcp, key, decryption } = parties;
  const { parameters } = bcp;
  const floors = schema.channels.map((channel) => scaleOf(channel).F);
  const learnt = await reference.encryptSamples(key, window, random);
  const [scored = []] = await reference.encryptSamples(key, [sample], random);
  // Each server keeps what it needs of the patient's key.
  const arithmetic = new LocalBlindedArithmetic(
    { key: new KeyedBcp(bcp, key.publicKey) },
    { key: new KeyedBcp(bcp, key.publicKey), decryption },
    random,
  );
  let model: reference.ReferenceModel | undefined;

  return {
    ingest: async () => {
      const encoded = scored.map((part) => encodeCiphertext(part, parameters));
      await decodeCiphertexts(encoded, 'sample', parameters, engine);
    },
    train: async () => {
      model = await reference.train(arithmetic, bcp, learnt, floors);
    },
    score: async () => {
      if (model === undefined) throw new Error('there is no model to score against');
      const residue = await reference.score(arithmetic, bcp, model, scored);
      const { numerator, denominator } = distanceBounds(schema, window.length);
      return reconstruct(residue, parameters.modulus, numerator, denominator);
    },
  };
}

/** Elements as they arrive with who holds the key: encoded, decoded, validated. */
function travel(
  elements: readonly AdditiveCiphertext[],
  key: AdditiveKey,
): Promise<AdditiveCiphertext[]> {
  return key.decode(
    elements.map((element) => key.encode(element)),
    'elements',
  );
}

/** The service provider's key as the CSP uses it, with a generator of the CSP's own. */
async function providerKeyOf(
  { modulus, generator }: AdditiveKey,
  engine: ModularEngine,
  random: RandomSource,
): Promise<packed.ProviderKey> {
  const [drawn = 1n] = await engine
    .ring(modulus * modulus)
    .powers([{ base: 2n + uniformBelow(modulus - 2n, random), exponent: 2n * modulus }]);
  return {
    key: new AdditiveKey({ modulus, generator }, engine),
    zeros: new AdditiveKey({ modulus, generator: drawn }, engine),
  };
}
