import { encodeChannels, levelThresholds, type PackingPlan } from '@duoveil/common/encoding';
import { isDuoveilError } from '@duoveil/common/errors';
import { elementAt } from '@duoveil/common/lists';
import type { AdditiveCiphertext, AdditiveKey } from '@duoveil/common/paillier';
import type { GarbledCircuit } from '@duoveil/common/protocols/compare';
import {
  inLines,
  messageCounts,
  type InvertedGram,
  type MaskedCoefficientColumns,
  type MessageCounts,
} from '@duoveil/common/protocols/packed';
import type { MaskedOpening } from '@duoveil/common/bcp';
import { callUnary, type Connection } from '@duoveil/common/runtime';
import {
  PackedServiceService as Packed,
  type ComparisonOffer,
  type PackingShape,
} from '@duoveil/proto';

import type { Patient } from '../store/index.js';
import { callOptions, misbehaved, requireCount } from './calls.js';
import type { ProviderKey } from './provider-key.js';
import type { Registration } from './registration.js';
import type { SessionInstance } from './transfer-session.js';

/** What the CSP made of the coefficients. */
export interface KeptModel {
  readonly modelId: Buffer;
  readonly crossTerms: AdditiveCiphertext[];
  readonly sealedShare: Buffer;
}

/** What the CSP answers to a masked sample. */
export interface ScoreAnswer {
  readonly answer: AdditiveCiphertext;
  /** For level output. */
  readonly comparison: ComparisonOffer | undefined;
}

/** The CSP's calls for one patient in the packed suite. Each method is one attempt. */
export class PackedClient {
  readonly #connection: Connection;
  readonly #cspKey: AdditiveKey;
  readonly #provider: ProviderKey;
  readonly #patientKey: Registration;
  readonly #counts: MessageCounts;
  readonly #shape: PackingShape;

  constructor(
    connection: Connection,
    cspKey: AdditiveKey,
    provider: ProviderKey,
    patientKey: Registration,
    patient: Pick<Patient, 'schema' | 'policy'>,
    plan: PackingPlan,
  ) {
    this.#connection = connection;
    this.#cspKey = cspKey;
    this.#provider = provider;
    this.#patientKey = patientKey;
    this.#counts = messageCounts(plan);
    this.#shape = {
      channels: encodeChannels(patient.schema),
      window: patient.policy.window,
      thresholdsScaled: levelThresholds(patient.policy) ?? [],
    };
  }

  /** Make both keys known that a model is bound to, so that training does not find out at its end. */
  async register(signal: AbortSignal): Promise<void> {
    await this.#withKeys(signal, () => Promise.resolve());
  }

  /** Rows of the CSP's share, flat. */
  async shareGram(
    openings: readonly MaskedOpening[],
    signal: AbortSignal,
  ): Promise<AdditiveCiphertext[]> {
    const sums = this.#encode(openings.map(({ b }) => b as AdditiveCiphertext));
    const { rows } = await callUnary(
      this.#connection,
      Packed.shareGram,
      { shape: this.#shape, sums },
      callOptions(signal),
    );
    return this.#decode(rows, this.#counts.matrix, 'rows');
  }

  /** The inverse, or for level output the adjugate and the determinant. */
  async invertGram(
    matrix: readonly AdditiveCiphertext[],
    signal: AbortSignal,
  ): Promise<InvertedGram> {
    const { columns, determinant } = await callUnary(
      this.#connection,
      Packed.invertGram,
      { shape: this.#shape, rows: this.#encode(matrix) },
      callOptions(signal),
    );
    const flat = await this.#decode(columns, this.#counts.inverse, 'columns');
    const [decoded] = await this.#decode(
      determinant.length === 0 ? [] : [determinant],
      this.#isLevel ? 1 : 0,
      'determinant',
    );
    return { columns: inLines(flat, this.#counts.inverseColumn), determinant: decoded };
  }

  /** A model, from masked coefficients and the service provider's own share of them. */
  async keepCoefficients(
    modelNumber: number,
    { columns, determinant }: MaskedCoefficientColumns,
    providerShare: readonly AdditiveCiphertext[],
    signal: AbortSignal,
  ): Promise<KeptModel> {
    return this.#withKeys(signal, async (keyId, providerKeyId) => {
      const request = {
        keyId,
        modelNumber,
        shape: this.#shape,
        coefficients: this.#encode(columns.flat()),
        determinant: determinant === undefined ? Buffer.alloc(0) : this.#cspKey.encode(determinant),
        providerKeyId,
        providerShare: this.#encodeOwn(providerShare),
      };
      const { modelId, crossTerms, sealedShare } = await callUnary(
        this.#connection,
        Packed.keepCoefficients,
        request,
        callOptions(signal),
      );
      const { features } = this.#counts;
      const decoded = await this.#decode(crossTerms, features, 'cross_terms');
      return { modelId, crossTerms: decoded, sealedShare };
    });
  }

  /** Put a model back into the CSP's cache; its name there. */
  async loadModel(
    modelNumber: number,
    sealedShare: Buffer,
    providerShare: readonly AdditiveCiphertext[],
    signal: AbortSignal,
  ): Promise<Buffer> {
    return this.#withKeys(signal, async (keyId, providerKeyId) => {
      const request = {
        keyId,
        modelNumber,
        sealedShare,
        providerKeyId,
        providerShare: this.#encodeOwn(providerShare),
      };
      const { modelId } = await callUnary(
        this.#connection,
        Packed.loadModel,
        request,
        callOptions(signal),
      );
      return modelId;
    });
  }

  /** The answer for a masked sample, under the service provider's own key. */
  async score(
    modelId: Buffer,
    sample: readonly AdditiveCiphertext[],
    session: SessionInstance | undefined,
    signal: AbortSignal,
  ): Promise<ScoreAnswer> {
    const request = {
      modelId,
      sample: this.#encode(sample),
      sessionId: session?.id ?? Buffer.alloc(0),
      instance: session?.instance ?? 0,
    };
    const { answer, comparison } = await callUnary(
      this.#connection,
      Packed.score,
      request,
      callOptions(signal),
    );
    if ((comparison !== undefined) !== this.#isLevel) {
      throw misbehaved(this.#connection, 'another output than the model is for');
    }
    const decoded = await this.#provider.keys.key.decode([answer], 'answer');
    return { answer: elementAt(decoded, 0), comparison };
  }

  /** The colours of the outputs of a garbled comparison. */
  async compare(
    comparisonId: Buffer,
    { hashKey, tables }: GarbledCircuit,
    outputs: number,
    signal: AbortSignal,
  ): Promise<boolean[]> {
    const request = { comparisonId, hashKey: Buffer.from(hashKey), tables: Buffer.from(tables) };
    const { colours } = await callUnary(
      this.#connection,
      Packed.compare,
      request,
      callOptions(signal),
    );
    if (colours >= 2 ** outputs) throw misbehaved(this.#connection, 'more colours than outputs');
    return Array.from({ length: outputs }, (_, i) => ((colours >> i) & 1) === 1);
  }

  get #isLevel(): boolean {
    return this.#shape.thresholdsScaled.length > 0;
  }

  async #withKeys<Result>(
    signal: AbortSignal,
    call: (keyId: Buffer, providerKeyId: Buffer) => Promise<Result>,
  ): Promise<Result> {
    const keyId = await this.#patientKey.id(signal);
    const providerKeyId = await this.#provider.registration.id(signal);
    try {
      return await call(keyId, providerKeyId);
    } catch (error) {
      if (isDuoveilError(error, 'KEY_NOT_REGISTERED')) {
        this.#patientKey.forget();
        this.#provider.registration.forget();
      }
      throw error;
    }
  }

  #encode(elements: readonly AdditiveCiphertext[]): Buffer[] {
    return elements.map((element) => this.#cspKey.encode(element));
  }

  #encodeOwn(elements: readonly AdditiveCiphertext[]): Buffer[] {
    return elements.map((element) => this.#provider.keys.key.encode(element));
  }

  async #decode(
    elements: readonly Uint8Array[],
    count: number,
    field: string,
  ): Promise<AdditiveCiphertext[]> {
    requireCount(elements, count, this.#connection);
    return this.#cspKey.decode(elements, field);
  }
}
