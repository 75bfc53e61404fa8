import { hkdfSync } from 'node:crypto';

import { duoveilError } from '@duoveil/common/errors';
import type { RandomSource } from '@duoveil/common/random';
import { openBox, sealBox } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';

/** What a sealed value is. */
export type SealedKind = 'outcome' | 'notice' | 'model' | 'book' | 'check';

/** Where a sealed value belongs: it opens there and nowhere else. */
export interface Place {
  readonly kind: SealedKind;
  readonly patient: string;
  /** The number of the sample or of the model, or the revision of the book. */
  readonly number: number;
}

/** Seals what the database must not tell, and opens it. */
export interface Seal {
  /** The same length for the same length of plaintext, whatever it says. */
  close(plaintext: Uint8Array, place: Place): Buffer;
  /** @throws DuoveilError `UNSEALING_FAILED`: another key, another place, or damaged */
  open(sealed: Uint8Array, place: Place): Buffer;
}

/** The length of a store key in bytes. */
export const STORE_KEY_BYTES = 32;

/** Keys that are kept at most. */
const DERIVED = 4_096;

/**
 * AES-256-GCM with random nonces, under a key for each kind and patient that HKDF-SHA-256 (RFC 5869)
 * derives from the store key: no key meets so many nonces that two of them might be the same. The
 * place is authenticated with the value: a row that is moved, or put under another patient, does not open.
 */
export class StoreSeal implements Seal {
  readonly #key: Secret<Uint8Array>;
  readonly #random: RandomSource;
  /** By what they are for: a patient's decisions are opened by the hundred. */
  readonly #derived = new Map<string, Secret<Uint8Array>>();

  /** @param key {@link STORE_KEY_BYTES} uniformly random bytes */
  constructor(key: Secret<Uint8Array>, random: RandomSource) {
    if (key.reveal().length !== STORE_KEY_BYTES) {
      throw new RangeError(`a store key must have ${STORE_KEY_BYTES} bytes`);
    }
    this.#key = key;
    this.#random = random;
  }

  close(plaintext: Uint8Array, place: Place): Buffer {
    return sealBox(this.#derive(place), plaintext, binding(place), this.#random);
  }

  open(sealed: Uint8Array, place: Place): Buffer {
    const plaintext = openBox(this.#derive(place), sealed, binding(place));
    if (plaintext !== undefined) return plaintext;
    throw duoveilError(
      'UNSEALING_FAILED',
      `the store holds a sealed ${place.kind} that does not open: it is damaged, or of another store key`,
    );
  }

  #derive({ kind, patient }: Place): Uint8Array {
    const info = `duoveil/sp-store/${kind}/v1/${patient}`;
    let key = this.#derived.get(info)?.reveal();
    if (key === undefined) {
      key = new Uint8Array(hkdfSync('sha256', this.#key.reveal(), '', info, 32));
      if (this.#derived.size >= DERIVED) this.#derived.clear();
      this.#derived.set(info, new Secret(key));
    }
    return key;
  }
}

function binding({ kind, patient, number }: Place): Buffer {
  return Buffer.from(`${kind}|${patient}|${number}`, 'utf8');
}
