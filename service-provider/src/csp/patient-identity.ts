import type { ParametersDigest } from '@duoveil/common/bcp';
import { callUnary, type Connection } from '@duoveil/common/runtime';
import { KeyServiceService as Keys } from '@duoveil/proto';

import type { Patient } from '../store/index.js';
import { callOptions } from './calls.js';

/**
 * A patient's public key at the CSP, with the proof that its gateway made, and what the CSP calls it.
 * The CSP keeps keys in memory only: a call fails with `KEY_NOT_REGISTERED` where it has forgotten this
 * one, and the next attempt registers it again.
 */
export class PatientIdentity {
  readonly #connection: Connection;
  readonly #digest: ParametersDigest;
  readonly #patient: Patient;
  #id: Promise<Buffer> | undefined;

  constructor(connection: Connection, digest: ParametersDigest, patient: Patient) {
    this.#connection = connection;
    this.#digest = digest;
    this.#patient = patient;
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
    const { id, key } = this.#patient;
    const request = {
      patientId: id,
      parametersDigest: Buffer.from(this.#digest, 'hex'),
      publicKey: { h: Buffer.from(key.publicKey) },
      proof: { commitment: Buffer.from(key.commitment), response: Buffer.from(key.response) },
    };
    const { keyId } = await callUnary(
      this.#connection,
      Keys.registerKey,
      request,
      callOptions(signal),
    );
    return keyId;
  }
}
