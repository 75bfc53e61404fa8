import { KeyedBcp, type Bcp, type Ciphertext } from '@duoveil/common/bcp';
import { packingPlanOf, scaleOf, type PackingPlan } from '@duoveil/common/encoding';
import { isDuoveilError } from '@duoveil/common/errors';
import { elementAt } from '@duoveil/common/lists';
import type { AdditiveKey } from '@duoveil/common/paillier';
import { acceptLevel, garbleComparison } from '@duoveil/common/protocols/compare';
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
import type { Connection, Turns } from '@duoveil/common/runtime';
import type { ComparisonOffer } from '@duoveil/proto';

import { attempts } from '../csp/calls.js';
import { PackedClient } from '../csp/packed.js';
import { patientKey } from '../csp/patient-key.js';
import type { ProviderKey } from '../csp/provider-key.js';
import type { SessionInstance, TransferSession } from '../csp/transfer-session.js';
import type { Patient, StoredModel, StoredSample } from '../store/index.js';
import { decodePackedModel, encodePackedModel, type PackedModel } from './packed-model.js';
import { PreparationPool } from './preparation-pool.js';
import type { PatientSuite, Score } from './suite.js';

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
  readonly provider: ProviderKey;
  readonly session: TransferSession;
  /** Shared with every other patient of the process. */
  readonly turns: Turns;
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
    const plan = packingPlanOf(patient.schema, patient.policy, bcp.parameters.bits);
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
    const registration = patientKey(csp, bcp.parameters.digest, patient);
    this.#client = new PackedClient(csp, cspKey, provider, registration, patient, plan);
  }

  async train(window: readonly StoredSample[], number: number): Promise<Uint8Array> {
    const sums = await this.#environment.bcp.sums(
      Array.from({ length: this.#plan.plaintexts }, (_, i) =>
        window.map(({ ciphertexts }) => elementAt(ciphertexts, i)),
      ),
    );
    const model = await this.#attempts(() => this.#trainOnce(sums, number));
    const { bcp, cspKey } = this.#environment;
    return encodePackedModel(model, cspKey, bcp.parameters);
  }

  async score(stored: StoredModel, sample: StoredSample): Promise<Score | undefined> {
    const live = this.#open(stored);
    const score = await this.#attempts(() => this.#scoreOnce(live, sample));
    live.pool.refill();
    return score;
  }

  async sums(stored: StoredModel): Promise<Ciphertext[]> {
    const { random } = this.#environment;
    return this.#role.patient.rerandomise(this.#open(stored).stored.sums, random);
  }

  async #trainOnce(sums: readonly Ciphertext[], number: number): Promise<PackedModel> {
    const { random, stop } = this.#environment;
    const role = this.#role;
    const counts = messageCounts(this.#plan);
    const floors = this.#patient.schema.channels.map((channel) => scaleOf(channel).F);

    const [{ openings, masks }] = await Promise.all([
      maskSums(role, sums, random),
      this.#client.register(stop),
    ]);
    const rows = await this.#client.shareGram(openings, stop);

    const gram = inLines(rows, counts.matrixRow);
    const { matrix, mask } = await maskGram(role, floors, masks, gram, random);
    const inverse = await this.#client.invertGram(matrix.flat(), stop);

    const { coefficients, share } = await maskCoefficients(role, mask, inverse, random);
    const providerShare = await encryptProviderShare(role.own.key, share, random, this.#plan);
    const kept = await this.#client.keepCoefficients(number, coefficients, providerShare, stop);
    return { share, crossTerms: kept.crossTerms, sealedShare: kept.sealedShare, sums };
  }

  /** One attempt: one round trip for a distance, two for a level. */
  async #scoreOnce(live: LiveModel, sample: StoredSample): Promise<Score | undefined> {
    const { stop, session, turns } = this.#environment;
    const cspId = (live.cspId ??= await this.#load(live));
    const use = this.#plan.level && (await session.next(stop));
    const prepared = await live.pool.take();
    await turns.next();
    const { request, pending } = requestScore(this.#role, sample.ciphertexts, prepared);
    try {
      const { answer, comparison } = await this.#client.score(cspId, request, use, stop);
      const opened = await acceptScore(this.#role, live.model, pending, answer);
      if (use === undefined || comparison === undefined) return this.#distance(opened);
      return await this.#level(live, opened, use, comparison);
    } catch (error) {
      if (isDuoveilError(error, 'MODEL_NOT_LOADED')) live.cspId = undefined;
      if (use !== undefined) session.noteFailure(error, use);
      throw error;
    }
  }

  #distance(leverage: bigint): Score | undefined {
    const distance = distanceOfLeverage(leverage, this.#plan, this.#patient.schema);
    return distance && { kind: 'distance', distance };
  }

  /** The second round trip: garbled afresh, also where the sample is scored again. */
  async #level(
    { model }: LiveModel,
    numerator: bigint,
    { sender, instance }: SessionInstance,
    { comparisonId, labels }: ComparisonOffer,
  ): Promise<Score> {
    const { random, stop, turns } = this.#environment;
    const shares = { numerator, determinant: -model.share.determinant };
    await turns.next();
    const { garbled, outputMasks } = garbleComparison(
      sender,
      this.#plan,
      shares,
      labels,
      instance,
      random,
    );
    const outputs = outputMasks.length;
    const colours = await this.#client.compare(comparisonId, garbled, outputs, stop);
    return { kind: 'level', level: acceptLevel(colours, outputMasks) };
  }

  async #load({ number, stored }: LiveModel): Promise<Buffer> {
    const { random, stop } = this.#environment;
    const share = await encryptProviderShare(this.#role.own.key, stored.share, random, this.#plan);
    return this.#client.loadModel(number, stored.sealedShare, share, stop);
  }

  /** The model in use; another one takes its place when there is one. */
  #open({ number, content }: StoredModel): LiveModel {
    if (this.#live?.number === number) return this.#live;
    const stored = decodePackedModel(content, this.#environment.bcp.parameters);
    const model = {
      share: stored.share,
      crossTerms: keepCrossTerms(this.#role, stored.crossTerms),
    };
    const prepare = () => prepareScore(this.#role, model, this.#environment.random);
    const pool = new PreparationPool(prepare);
    this.#live = { number, stored, model, pool, cspId: undefined };
    return this.#live;
  }

  #attempts<Result>(step: () => Promise<Result>): Promise<Result> {
    return attempts(step, this.#environment.random, this.#environment.stop);
  }
}
