/** Bytes that nobody reads, changes or moves unnoticed: AES-256-GCM as one box, nonce ‖ ciphertext ‖ tag. */
import { createCipheriv, createDecipheriv } from 'node:crypto';

import type { RandomSource } from '../random.js';

/** The length of a box's nonce, in bytes. */
export const NONCE_BYTES = 12;

/** The length of a box's authentication tag, in bytes. */
export const TAG_BYTES = 16;

/**
 * Seals bytes under a random nonce. A box is {@link NONCE_BYTES} + {@link TAG_BYTES} longer than what is
 * in it. A key may seal 2^32 boxes (NIST SP 800-38D, 8.3).
 * @param key 32 uniform bytes
 * @param place what the box is and where it belongs; it opens with the same bytes only
 */
export function sealBox(
  key: Uint8Array,
  plaintext: Uint8Array,
  place: Uint8Array,
  random: RandomSource,
): Buffer {
  const nonce = random.bytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(place);
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** What {@link sealBox} was given; undefined where it is not that: another key or place, or damaged. */
export function openBox(key: Uint8Array, box: Uint8Array, place: Uint8Array): Buffer | undefined {
  if (box.length < NONCE_BYTES + TAG_BYTES) return undefined;
  const nonce = box.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(place);
  decipher.setAuthTag(box.subarray(-TAG_BYTES));
  const plaintext = decipher.update(box.subarray(NONCE_BYTES, -TAG_BYTES));
  try {
    // A stream cipher: there is nothing left to come but the verdict.
    decipher.final();
    return plaintext;
  } catch {
    return undefined;
  }
}
