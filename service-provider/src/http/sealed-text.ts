/** Small values that a browser keeps for us, and can neither read nor change. */
import { hkdfSync } from 'node:crypto';

import type { RandomSource } from '@duoveil/common/random';
import { openBox, sealBox } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';

/** Longest sealed text that is looked at: browsers keep no longer cookies. */
const MAXIMUM_LENGTH = 4096;

/** A purpose has a key of its own; within it, a text belongs nowhere in particular. */
const ANYWHERE = new Uint8Array();

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
    const text = Buffer.from(JSON.stringify(value), 'utf8');
    return sealBox(this.#key.reveal(), text, ANYWHERE, this.#random).toString('base64url');
  }

  /** @returns undefined for what was not sealed here, or is damaged */
  open(sealed: string): unknown {
    if (sealed.length > MAXIMUM_LENGTH) return undefined;
    const text = openBox(this.#key.reveal(), Buffer.from(sealed, 'base64url'), ANYWHERE);
    return text === undefined ? undefined : JSON.parse(text.toString('utf8'));
  }
}
