import { createHash } from 'node:crypto';

import { acceptPublicKey, KeyedBcp, type Bcp, type EncodedKey } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import type { PatientId } from '@duoveil/common/runtime';

import { BoundedCache } from './bounded-cache.js';

/** Whose a call is: the key that it names, and the patient for whom its possession was proved. */
export interface KeyOwner {
  /** The key's name, in hexadecimal digits. It follows from parameters, patient and public key. */
  readonly keyId: string;
  readonly patient: PatientId;
}

/** A key and whose it is. */
export interface RegisteredKey extends KeyOwner {
  readonly key: KeyedBcp;
}

/**
 * Patients' public keys, in memory only and bounded: the CSP keeps nothing about patients. A key
 * that was pushed out is registered again by the service provider.
 */
export class PatientKeys {
  readonly #bcp: Bcp;
  readonly #keys: BoundedCache<RegisteredKey>;

  constructor(bcp: Bcp, capacity = 512) {
    this.#bcp = bcp;
    this.#keys = new BoundedCache(capacity);
  }

  /**
   * Check a key and its proof, and keep it.
   * @returns 32 bytes that name it.
   * @throws DuoveilError `KEY_INVALID`
   */
  async register(patient: PatientId, key: EncodedKey): Promise<Buffer> {
    const id = createHash('sha256')
      .update(`${this.#bcp.parameters.digest}/${patient}/`)
      .update(key.publicKey)
      .digest();
    const name = id.toString('hex');
    const publicKey = await acceptPublicKey(this.#bcp, key, patient);
    this.#keys.set(
      name,
      this.#keys.get(name) ?? { keyId: name, patient, key: new KeyedBcp(this.#bcp, publicKey) },
    );
    return id;
  }

  /** @throws DuoveilError `KEY_NOT_REGISTERED` */
  find(id: Uint8Array): RegisteredKey {
    const key = this.#keys.get(Buffer.from(id).toString('hex'));
    if (key === undefined) {
      throw duoveilError(
        'KEY_NOT_REGISTERED',
        'the key is not registered: register it and try again',
      );
    }
    return key;
  }
}
