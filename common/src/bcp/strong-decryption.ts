import type { MaskedOpening } from './ciphertext.js';

/**
 * Decryption with the master key, as far as the protocols need to know of it. The implementation is
 * in `@duoveil/common/master`, which the crypto service provider alone imports.
 */
export interface StrongDecryption {
  /**
   * Open ciphertexts under any public key `h` of these parameters.
   * @throws DuoveilError `DECRYPTION_FAILED`
   */
  open(publicKey: bigint, openings: readonly MaskedOpening[]): Promise<bigint[]>;
}
