/** All parties of the packed suite in one process, with nothing of the network between them. */
import { packingPlan, scaleOf, type PackingPlan, type Schema } from '@duoveil/common/encoding';
import type { ModularEngine } from '@duoveil/common/modular';
import {
  AdditiveKey,
  CrtOpening,
  generateAdditiveKey,
  type AdditiveKeyPair,
} from '@duoveil/common/paillier';
import {
  acceptScore,
  answerScore,
  encryptProviderShare,
  encryptSamples,
  invertGram,
  keepCoefficients,
  keepCrossTerms,
  keepProviderShare,
  maskCoefficients,
  maskGram,
  maskSums,
  prepareScore,
  requestScore,
  shareGram,
  type CryptoServiceProviderRole,
  type CspModel,
  type ProviderKey,
  type ProviderModel,
  type ServiceProviderRole,
} from '@duoveil/common/protocols/packed';
import type { Ciphertext } from '@duoveil/common/bcp';
import { uniformBetween, type RandomSource } from '@duoveil/common/random';

import { localParties, type LocalParties } from './parties.js';
import { PUBLIC_PROVIDER_PRIMES, type TestModulusBits } from './test-primes.js';

/** The keys of all parties, for any schema. */
export interface PackedKeys extends LocalParties {
  /** The CSP's additive key: modulus and generator of the parameters. */
  readonly csp: AdditiveKeyPair;
  /** The service provider's own key. */
  readonly own: AdditiveKeyPair;
  /** The same as the CSP has it. */
  readonly provider: ProviderKey;
}

/** The roles for one schema and window. */
export interface PackedRoles {
  readonly keys: PackedKeys;
  readonly schema: Schema;
  readonly plan: PackingPlan;
  readonly floors: readonly bigint[];
  readonly sp: ServiceProviderRole;
  readonly csp: CryptoServiceProviderRole;
}

/** Both halves of a trained model. */
export interface PackedModelHalves {
  readonly sp: ProviderModel;
  readonly csp: CspModel;
}

/** A service provider's key over the public test primes. */
export function providerKeyForTests(
  bits: TestModulusBits,
  engine: ModularEngine,
  random: RandomSource,
): Promise<AdditiveKeyPair> {
  const primes = [...PUBLIC_PROVIDER_PRIMES[bits]];
  return generateAdditiveKey(bits, engine, random, () => {
    const prime = primes.pop();
    return prime === undefined
      ? Promise.reject(new Error('the test primes are used up'))
      : Promise.resolve(prime);
  });
}

/** A provider key as the CSP keeps it: with a generator of its own drawing. */
export async function providerKeyAtCsp(
  { modulus, generator }: AdditiveKey,
  engine: ModularEngine,
  random: RandomSource,
): Promise<ProviderKey> {
  const base = uniformBetween(2n, modulus * modulus - 2n, random);
  const [own = 1n] = await engine
    .ring(modulus * modulus)
    .powers([{ base, exponent: 2n * modulus }]);
  return {
    key: new AdditiveKey({ modulus, generator }, engine),
    zeros: new AdditiveKey({ modulus, generator: own }, engine),
  };
}

/** The keys of all parties over the public test primes. */
export async function packedKeys(
  bits: TestModulusBits,
  engine: ModularEngine,
  random: RandomSource,
): Promise<PackedKeys> {
  const parties = await localParties(bits, 'residue', engine, random);
  const own = await providerKeyForTests(bits, engine, random);
  return {
    ...parties,
    csp: {
      key: new AdditiveKey(parties.master.parameters, engine),
      opening: new CrtOpening(parties.master.factors, engine),
    },
    own,
    provider: await providerKeyAtCsp(own.key, engine, random),
  };
}

/** The roles for a schema and a window. */
export function packedRoles(keys: PackedKeys, schema: Schema, window: number): PackedRoles {
  const plan = packingPlan(schema, window, keys.bcp.parameters.bits);
  return {
    keys,
    schema,
    plan,
    floors: schema.channels.map((channel) => scaleOf(channel).F),
    sp: { plan, patient: keys.key, csp: keys.csp.key, own: keys.own },
    csp: { plan, own: keys.csp },
  };
}

/** Samples, encrypted by the gateway. */
export function encryptPacked(
  { plan, keys }: PackedRoles,
  samples: readonly (readonly bigint[])[],
  random: RandomSource,
): Promise<Ciphertext[][]> {
  return encryptSamples(plan, keys.key, samples, random);
}

/** Every step of training, from the encrypted sums of features over the window. */
export async function trainPacked(
  { plan, floors, sp, csp, keys }: PackedRoles,
  sums: readonly Ciphertext[],
  random: RandomSource,
): Promise<PackedModelHalves> {
  const { openings, masks } = await maskSums(sp, sums, random);
  const rows = await shareGram(csp, openings, random);
  const { matrix, mask } = await maskGram(sp, floors, masks, rows, random);
  const columns = await invertGram(csp, matrix, random);
  const { coefficients, share } = await maskCoefficients(sp, mask, columns, random);
  const providerShare = await encryptProviderShare(sp.own.key, share, random, plan);
  const kept = await keepCoefficients(csp, coefficients, random);
  return {
    sp: { share, crossTerms: keepCrossTerms(sp, kept.crossTerms) },
    csp: {
      share: kept.share,
      providerShare: keepProviderShare(plan, keys.provider, providerShare),
    },
  };
}

/** Every step of scoring: the leverage modulo `P`. */
export async function scorePacked(
  { sp, csp, keys }: PackedRoles,
  model: PackedModelHalves,
  sample: readonly Ciphertext[],
  random: RandomSource,
): Promise<bigint> {
  const prepared = await prepareScore(sp, model.sp, random);
  const { request, pending } = requestScore(sp, sample, prepared);
  const { answer } = await answerScore(csp, keys.provider, model.csp, request, random);
  return acceptScore(sp, model.sp, pending, answer);
}
