import { encodeChannels } from '@duoveil/common/encoding';
import { isDuoveilError } from '@duoveil/common/errors';
import { elementAt } from '@duoveil/common/lists';
import type { AdditiveCiphertext, AdditiveKey, AdditiveKeyPair } from '@duoveil/common/paillier';
import { messageCounts, type MessageCounts } from '@duoveil/common/protocols/packed';
import type { PackingPlan } from '@duoveil/common/encoding';
import type { MaskedOpening } from '@duoveil/common/bcp';
import { bytesFromInteger } from '@duoveil/common/random';
import { callUnary, type Connection } from '@duoveil/common/runtime';
import { PackedServiceService as Packed, type PackingShape } from '@duoveil/proto';

import type { Patient } from '../store/index.js';
import { CALL_DEADLINE_MS, requireCount } from './calls.js';

/** This process's own additive key, and what the CSP calls it. It lives in memory only. */
export class ProviderIdentity {
  readonly keys: AdditiveKeyPair;
  readonly #connection: Connection;
  #id: Promise<Buffer> | undefined;

  constructor(keys: AdditiveKeyPair, connection: Connection) {
    this.keys = keys;
    this.#connection = connection;
  }

  /** The key's name, registered if need be. */
  id(signal: AbortSignal): Promise<Buffer> {
    this.#id ??= this.#register(signal).catch((error: unknown) => {
      this.#id = undefined;
      throw error;
    });
    return this.#id;
  }

  /** The CSP has forgotten the key: register it again next time. */
  forget(): void {
    this.#id = undefined;
  }

  async #register(signal: AbortSignal): Promise<Buffer> {
    const { key } = this.keys;
    const request = {
      modulus: bytesFromInteger(key.modulus, key.elementBytes / 2),
      generator: bytesFromInteger(key.generator, key.elementBytes),
    };
    const options = { deadlineMs: CALL_DEADLINE_MS, signal };
    const { providerKeyId } = await callUnary(
      this.#connection,
      Packed.registerProviderKey,
      request,
      options,
    );
    return providerKeyId;
  }
}

/** What the CSP made of the coefficients. */
export interface KeptModel {
  readonly modelId: Buffer;
  readonly crossTerms: AdditiveCiphertext[];
  readonly sealedShare: Buffer;
}

/** The CSP's calls for one patient in the packed suite. Each method is one attempt. */
export class PackedClient {
  readonly #connection: Connection;
  readonly #cspKey: AdditiveKey;
  readonly #provider: ProviderIdentity;
  readonly #patient: Patient;
  readonly #counts: MessageCounts;
  readonly #shape: PackingShape;

  constructor(
    connection: Connection,
    cspKey: AdditiveKey,
    provider: ProviderIdentity,
    patient: Patient,
    plan: PackingPlan,
  ) {
    this.#connection = connection;
    this.#cspKey = cspKey;
    this.#provider = provider;
    this.#patient = patient;
    this.#counts = messageCounts(plan);
    this.#shape = { channels: encodeChannels(patient.schema), window: patient.policy.window };
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
      options(signal),
    );
    return this.#decode(rows, this.#counts.matrix, 'rows');
  }

  /** Columns of the inverse, flat. */
  async invertGram(
    matrix: readonly AdditiveCiphertext[],
    signal: AbortSignal,
  ): Promise<AdditiveCiphertext[]> {
    const { columns } = await callUnary(
      this.#connection,
      Packed.invertGram,
      { shape: this.#shape, rows: this.#encode(matrix) },
      options(signal),
    );
    return this.#decode(columns, this.#counts.inverse, 'columns');
  }

  /** A model, from masked coefficients and the service provider's own share of them. */
  async keepCoefficients(
    coefficients: readonly AdditiveCiphertext[],
    providerShare: readonly AdditiveCiphertext[],
    signal: AbortSignal,
  ): Promise<KeptModel> {
    return this.#withProvider(signal, async (providerKeyId) => {
      const request = {
        patientId: this.#patient.id,
        shape: this.#shape,
        coefficients: this.#encode(coefficients),
        providerKeyId,
        providerShare: this.#encodeOwn(providerShare),
      };
      const { modelId, crossTerms, sealedShare } = await callUnary(
        this.#connection,
        Packed.keepCoefficients,
        request,
        options(signal),
      );
      const { features } = this.#counts;
      const decoded = await this.#decode(crossTerms, features, 'cross_terms');
      return { modelId, crossTerms: decoded, sealedShare };
    });
  }

  /** Put a model back into the CSP's cache; its name there. */
  async loadModel(
    sealedShare: Buffer,
    providerShare: readonly AdditiveCiphertext[],
    signal: AbortSignal,
  ): Promise<Buffer> {
    return this.#withProvider(signal, async (providerKeyId) => {
      const request = {
        patientId: this.#patient.id,
        sealedShare,
        providerKeyId,
        providerShare: this.#encodeOwn(providerShare),
      };
      const { modelId } = await callUnary(
        this.#connection,
        Packed.loadModel,
        request,
        options(signal),
      );
      return modelId;
    });
  }

  /** The answer for a masked sample, under the service provider's own key. */
  async score(
    modelId: Buffer,
    sample: readonly AdditiveCiphertext[],
    signal: AbortSignal,
  ): Promise<AdditiveCiphertext> {
    const { answer } = await callUnary(
      this.#connection,
      Packed.score,
      { modelId, sample: this.#encode(sample) },
      options(signal),
    );
    return elementAt(await this.#provider.keys.key.decode([answer], 'answer'), 0);
  }

  async #withProvider<Result>(
    signal: AbortSignal,
    call: (providerKeyId: Buffer) => Promise<Result>,
  ): Promise<Result> {
    const id = await this.#provider.id(signal);
    try {
      return await call(id);
    } catch (error) {
      if (isDuoveilError(error, 'KEY_NOT_REGISTERED')) this.#provider.forget();
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

function options(signal: AbortSignal): { deadlineMs: number; signal: AbortSignal } {
  return { deadlineMs: CALL_DEADLINE_MS, signal };
}
