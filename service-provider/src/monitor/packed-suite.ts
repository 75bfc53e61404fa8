import { KeyedBcp, type Bcp, type Ciphertext } from '@duoveil/common/bcp';
import { packingPlan, scaleOf, type PackingPlan, type Rational } from '@duoveil/common/encoding';
import { isDuoveilError } from '@duoveil/common/errors';
import { elementAt } from '@duoveil/common/lists';
import type { AdditiveKey } from '@duoveil/common/paillier';
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
  type ProviderModel,
  type ServiceProviderRole,
} from '@duoveil/common/protocols/packed';
import { integerFromBytes, type RandomSource } from '@duoveil/common/random';
import type { Connection } from '@duoveil/common/runtime';

import { attempts } from '../csp/calls.js';
import { PackedClient, type ProviderIdentity } from '../csp/packed.js';
import type { Patient, StoredModel, StoredSample } from '../store/index.js';
import { decodePackedModel, encodePackedModel, type PackedModel } from './packed-model.js';
import { PreparationPool } from './preparation-pool.js';
import type { PatientSuite } from './suite.js';

/** A model in use. */
interface LiveModel {
  readonly number: number;
  readonly stored: PackedModel;
  readonly model: ProviderModel;
  readonly pool: PreparationPool;
  /** What the CSP calls it, as far as it is known to have it. */
  cspId: Buffer | undefined;
}

/** What all patients' packed suites share. */
export interface PackedEnvironment {
  readonly bcp: Bcp;
  /** Encrypts to the CSP. */
  readonly cspKey: AdditiveKey;
  readonly csp: Connection;
  readonly provider: ProviderIdentity;
  readonly random: RandomSource;
  readonly stop: AbortSignal;
}

/** One ciphertext a sample, one round trip a decision. */
export class PackedSuite implements PatientSuite {
  readonly ciphertextsPerSample: number;
  readonly #environment: PackedEnvironment;
  readonly #patient: Patient;
  readonly #plan: PackingPlan;
  readonly #role: ServiceProviderRole;
  readonly #client: PackedClient;
  #live: LiveModel | undefined;

  constructor(environment: PackedEnvironment, patient: Patient) {
    const { bcp, cspKey, csp, provider } = environment;
    const plan = packingPlan(patient.schema, patient.policy.window, bcp.parameters.bits);
    this.ciphertextsPerSample = plan.plaintexts;
    this.#environment = environment;
    this.#patient = patient;
    this.#plan = plan;
    this.#role = {
      plan,
      patient: new KeyedBcp(bcp, integerFromBytes(patient.key.publicKey)),
      csp: cspKey,
      own: provider.keys,
    };
    this.#client = new PackedClient(csp, cspKey, provider, patient, plan);
  }

  async train(window: readonly StoredSample[]): Promise<Uint8Array> {
    const sums = await this.#environment.bcp.sums(
      Array.from({ length: this.#plan.plaintexts }, (_, i) =>
        window.map(({ ciphertexts }) => elementAt(ciphertexts, i)),
      ),
    );
    const model = await this.#attempts(() => this.#trainOnce(sums));
    return encodePackedModel(model, this.#environment.cspKey);
  }

  async score(stored: StoredModel, sample: StoredSample): Promise<Rational | undefined> {
    const live = this.#live?.number === stored.number ? this.#live : this.#open(stored);
    this.#live = live;
    const leverage = await this.#attempts(() => this.#scoreOnce(live, sample));
    live.pool.refill();
    return distanceOfLeverage(leverage, this.#plan, this.#patient.schema);
  }

  async #trainOnce(sums: readonly Ciphertext[]): Promise<PackedModel> {
    const { random, stop } = this.#environment;
    const role = this.#role;
    const counts = messageCounts(this.#plan);
    const floors = this.#patient.schema.channels.map((channel) => scaleOf(channel).F);

    const { openings, masks } = await maskSums(role, sums, random);
    const rows = await this.#client.shareGram(openings, stop);

    const gram = inLines(rows, counts.matrixRow);
    const { matrix, mask } = await maskGram(role, floors, masks, gram, random);
    const columns = await this.#client.invertGram(matrix.flat(), stop);

    const inverse = { columns: inLines(columns, counts.inverseColumn), determinant: undefined };
    const { coefficients, share } = await maskCoefficients(role, mask, inverse, random);
    const providerShare = await encryptProviderShare(role.own.key, share, random);
    const kept = await this.#client.keepCoefficients(
      coefficients.columns.flat(),
      providerShare,
      stop,
    );
    return { share, crossTerms: kept.crossTerms, sealedShare: kept.sealedShare };
  }

  async #scoreOnce(live: LiveModel, sample: StoredSample): Promise<bigint> {
    const { stop } = this.#environment;
    const cspId = (live.cspId ??= await this.#load(live));
    const prepared = await live.pool.take();
    const { request, pending } = requestScore(this.#role, sample.ciphertexts, prepared);
    try {
      const answer = await this.#client.score(cspId, request, stop);
      return await acceptScore(this.#role, live.model, pending, answer);
    } catch (error) {
      if (isDuoveilError(error, 'MODEL_NOT_LOADED')) live.cspId = undefined;
      throw error;
    }
  }

  async #load({ stored }: LiveModel): Promise<Buffer> {
    const { random, stop } = this.#environment;
    const share = await encryptProviderShare(this.#role.own.key, stored.share, random);
    return this.#client.loadModel(stored.sealedShare, share, stop);
  }

  #open({ number, content }: StoredModel): LiveModel {
    const stored = decodePackedModel(content);
    const model = {
      share: stored.share,
      crossTerms: keepCrossTerms(this.#role, stored.crossTerms),
    };
    const prepare = () => prepareScore(this.#role, model, this.#environment.random);
    return { number, stored, model, pool: new PreparationPool(prepare), cspId: undefined };
  }

  #attempts<Result>(step: () => Promise<Result>): Promise<Result> {
    return attempts(step, this.#environment.random, this.#environment.stop);
  }
}
