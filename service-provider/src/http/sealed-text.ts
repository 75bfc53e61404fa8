/** Small values that a browser keeps for us, and can neither read nor change. */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';

import type { RandomSource } from '@duoveil/common/random';
import { Secret } from '@duoveil/common/secret';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Longest sealed text that is looked at: browsers keep no longer cookies. */
const MAXIMUM_LENGTH = 4096;

/**
 * AES-256-GCM with random nonces, under a key that HKDF-SHA-256 (RFC 5869) derives from the store
 * key: all replicas on one database open what one of them has sealed.
 */
export class SealedText {
  readonly #key: Secret<Uint8Array>;
  readonly #random: RandomSource;

  /**
   * @param storeKey 32 uniformly random bytes
   * @param purpose what is sealed for one purpose does not open for another
   */
  constructor(storeKey: Secret<Uint8Array>, purpose: string, random: RandomSource) {
    const key = hkdfSync('sha256', storeKey.reveal(), '', `duoveil/sp-http/${purpose}/v1`, 32);
    this.#key = new Secret(new Uint8Array(key));
    this.#random = random;
  }

  /** @param value of plain JSON */
  close(value: unknown): string {
    const nonce = this.#random.bytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key.reveal(), nonce);
    const text = cipher.update(JSON.stringify(value), 'utf8');
    return Buffer.concat([nonce, text, cipher.final(), cipher.getAuthTag()]).toString('base64url');
  }

  /** @returns undefined for what was not sealed here, or is damaged */
  open(sealed: string): unknown {
    if (sealed.length > MAXIMUM_LENGTH) return undefined;
    const bytes = Buffer.from(sealed, 'base64url');
    try {
      const decipher = createDecipheriv(
        'aes-256-gcm',
        this.#key.reveal(),
        bytes.subarray(0, NONCE_BYTES),
        { authTagLength: TAG_BYTES },
      );
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      const text = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
      return JSON.parse(Buffer.concat([text, decipher.final()]).toString('utf8'));
    } catch {
      return undefined;
    }
  }
}
