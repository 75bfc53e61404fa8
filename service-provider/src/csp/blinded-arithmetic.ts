import {
  decodeCiphertexts,
  encodeOpening,
  type Bcp,
  type Ciphertext,
  type EncodedCiphertext,
  type MaskedOpening,
} from '@duoveil/common/bcp';
import { isDuoveilError } from '@duoveil/common/errors';
import type { MaskedPair } from '@duoveil/common/protocols/reference';
import { integerFromBytes } from '@duoveil/common/random';
import { callUnary, type Connection } from '@duoveil/common/runtime';
import { BlindedArithmeticServiceService as Arithmetic } from '@duoveil/proto';

import type { Patient } from '../store/index.js';
import { callOptions, misbehaved, requireCount, type CallOptions } from './calls.js';
import { patientKey } from './patient-key.js';
import type { Registration } from './registration.js';

/** Blinded arithmetic under one patient's key. Each method is one attempt: who repeats one masks afresh. */
export class BlindedArithmeticClient {
  readonly #connection: Connection;
  readonly #bcp: Bcp;
  readonly #patientKey: Registration;

  constructor(connection: Connection, bcp: Bcp, patient: Patient) {
    this.#connection = connection;
    this.#bcp = bcp;
    this.#patientKey = patientKey(connection, bcp.parameters.digest, patient);
  }

  async subtract(pairs: readonly MaskedPair[], stop: AbortSignal): Promise<Ciphertext[]> {
    return this.#withKey(stop, async (keyId, options) => {
      const request = { keyId, pairs: pairs.map((pair) => this.#encodePair(pair)) };
      const { results } = await callUnary(this.#connection, Arithmetic.subtract, request, options);
      return this.#decode(results, pairs.length);
    });
  }

  async multiply(pairs: readonly MaskedPair[], stop: AbortSignal): Promise<Ciphertext[]> {
    return this.#withKey(stop, async (keyId, options) => {
      const request = { keyId, pairs: pairs.map((pair) => this.#encodePair(pair)) };
      const { results } = await callUnary(this.#connection, Arithmetic.multiply, request, options);
      return this.#decode(results, pairs.length);
    });
  }

  async divide(
    openings: readonly MaskedOpening[],
    divisor: number,
    stop: AbortSignal,
  ): Promise<Ciphertext[]> {
    return this.#withKey(stop, async (keyId, options) => {
      const request = { keyId, divisor, values: openings.map((value) => this.#encode(value)) };
      const { results } = await callUnary(this.#connection, Arithmetic.divide, request, options);
      return this.#decode(results, openings.length);
    });
  }

  /** Entries by rows, both ways. */
  async invertMatrix(
    dimension: number,
    entries: readonly MaskedOpening[],
    stop: AbortSignal,
  ): Promise<Ciphertext[]> {
    return this.#withKey(stop, async (keyId, options) => {
      const request = { keyId, dimension, entries: entries.map((value) => this.#encode(value)) };
      const answer = await callUnary(this.#connection, Arithmetic.invertMatrix, request, options);
      return this.#decode(answer.entries, entries.length);
    });
  }

  /** The masked values, in `[0, N)`. */
  async open(openings: readonly MaskedOpening[], stop: AbortSignal): Promise<bigint[]> {
    return this.#withKey(stop, async (keyId, options) => {
      const request = { keyId, values: openings.map((value) => this.#encode(value)) };
      const { values } = await callUnary(this.#connection, Arithmetic.open, request, options);
      requireCount(values, openings.length, this.#connection);
      return values.map((bytes) => {
        const { modulus, plaintextBytes } = this.#bcp.parameters;
        const value = integerFromBytes(bytes);
        if (bytes.length !== plaintextBytes || value >= modulus) {
          throw misbehaved(this.#connection, 'a value that is no integer below N');
        }
        return value;
      });
    });
  }

  async #withKey<Result>(
    signal: AbortSignal,
    call: (keyId: Buffer, options: CallOptions) => Promise<Result>,
  ): Promise<Result> {
    const options = callOptions(signal);
    const keyId = await this.#patientKey.id(signal);
    try {
      return await call(keyId, options);
    } catch (error) {
      if (isDuoveilError(error, 'KEY_NOT_REGISTERED')) this.#patientKey.forget();
      throw error;
    }
  }

  #encode(opening: MaskedOpening): { a: Buffer; b: Buffer } {
    return encodeOpening(opening, this.#bcp.parameters);
  }

  #encodePair({ left, right }: MaskedPair) {
    return { left: this.#encode(left), right: this.#encode(right) };
  }

  async #decode(encoded: readonly EncodedCiphertext[], count: number): Promise<Ciphertext[]> {
    requireCount(encoded, count, this.#connection);
    return decodeCiphertexts(encoded, 'results', this.#bcp.parameters, this.#bcp.engine);
  }
}
