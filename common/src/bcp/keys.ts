/** A patient's key pair, and user decryption: BCP 2003, section 3. */
import { duoveilError } from '../errors.js';
import {
  bytesFromInteger,
  integerFromBytes,
  uniformBetween,
  type RandomSource,
} from '../random.js';
import { Secret } from '../secret.js';
import type { Ciphertext } from './ciphertext.js';
import type { PublicParameters } from './parameters.js';
import type { Bcp } from './scheme.js';

/** `a`, uniform in `[1, N²/2]`. */
export type SecretKey = Secret<bigint>;

/** A secret key and its public key `h = g^a mod N²`. */
export interface KeyPair {
  readonly secretKey: SecretKey;
  readonly publicKey: bigint;
}

/** Draw a key pair. */
export async function generateKeyPair(bcp: Bcp, random: RandomSource): Promise<KeyPair> {
  const secret = uniformBetween(1n, bcp.parameters.modulusSquared / 2n, random);
  return keyPairOf(bcp, new Secret(secret));
}

/** The key pair that belongs to a secret key. */
export async function keyPairOf(bcp: Bcp, secretKey: SecretKey): Promise<KeyPair> {
  const [publicKey] = await bcp.ring.powers([
    { base: bcp.parameters.generator, exponent: secretKey.reveal() },
  ]);
  return { secretKey, publicKey: publicKey ?? 1n };
}

/** A secret key as bytes, to be sealed. Whoever asks for them answers for them. */
export function encodeSecretKey(secretKey: SecretKey, parameters: PublicParameters): Buffer {
  return bytesFromInteger(secretKey.reveal(), parameters.elementBytes);
}

/** @throws DuoveilError `KEY_INVALID` where the bytes are no secret key under these parameters. */
export function decodeSecretKey(bytes: Uint8Array, parameters: PublicParameters): SecretKey {
  const secret = integerFromBytes(bytes);
  if (
    bytes.length !== parameters.elementBytes ||
    secret < 1n ||
    secret > parameters.modulusSquared / 2n
  ) {
    throw duoveilError('KEY_INVALID', 'the secret key does not belong to these parameters', {
      field: 'secretKey',
    });
  }
  return new Secret(secret);
}

/**
 * Decrypt with the patient's own key: `m = L(B·A^(-a))`.
 * @throws DuoveilError `DECRYPTION_FAILED`, the same for every cause.
 */
export async function decrypt(
  bcp: Bcp,
  secretKey: SecretKey,
  ciphertexts: readonly Ciphertext[],
): Promise<bigint[]> {
  const exponent = secretKey.reveal();
  const shared = await bcp.ring.powers(ciphertexts.map(({ a }) => ({ base: a, exponent })));
  const inverses = await bcp.ring.inverses(shared).catch((error: unknown) => {
    throw decryptionFailed(error);
  });
  return ciphertexts.map(({ b }, i) =>
    exactL(bcp.ring.multiply(b, inverses[i] ?? 0n), bcp.parameters.modulus),
  );
}

/**
 * `L(u) = (u - 1)/N`, an exact division: an unchecked one answers about chosen `u` what nobody but the
 * holder of the key could know.
 * @throws DuoveilError `DECRYPTION_FAILED` where `u` is not 1 modulo `N`.
 */
export function exactL(u: bigint, modulus: bigint): bigint {
  if (u % modulus !== 1n) throw decryptionFailed();
  return (u - 1n) / modulus;
}

/** The one, generic decryption error. */
export function decryptionFailed(cause?: unknown): Error {
  return duoveilError('DECRYPTION_FAILED', 'decryption failed', {}, { cause });
}
