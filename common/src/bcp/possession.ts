/**
 * Proof that who registers a public key knows its secret key: Schnorr's identification over a group
 * of hidden order, made non-interactive (Fiat-Shamir), bound to the patient and the parameters.
 *
 * The response is an integer, `s = w + c·a`, never reduced: the order of `g` is not known. The nonce
 * `w` is longer than `c·a` by 128 bits and hides it statistically.
 * C. P. Schnorr, J. Cryptology 4, 1991; E. Fujisaki, T. Okamoto, Crypto '97.
 */
import { createHash } from 'node:crypto';

import { duoveilError, isDuoveilError } from '../errors.js';
import { bitLength } from '../integers.js';
import { bytesFromInteger, integerFromBytes, uniformBits } from '../random.js';
import type { RandomSource } from '../random.js';
import { decodeElements } from './ciphertext.js';
import type { KeyPair } from './keys.js';
import type { PublicParameters } from './parameters.js';
import type { Bcp } from './scheme.js';

const CHALLENGE_BITS = 256;
const HIDING_BITS = 128;

/** A proof: `t = g^w` and `s = w + c·a`. */
export interface ProofOfPossession {
  readonly commitment: bigint;
  readonly response: bigint;
}

/** A public key and its proof as they travel, big-endian: all but the response `elementBytes` long. */
export interface EncodedKey {
  readonly publicKey: Uint8Array;
  readonly commitment: Uint8Array;
  readonly response: Uint8Array;
}

function nonceBits(parameters: PublicParameters): number {
  return bitLength(parameters.modulusSquared) + CHALLENGE_BITS + HIDING_BITS;
}

function responseBytes(parameters: PublicParameters): number {
  return Math.ceil((nonceBits(parameters) + 1) / 8);
}

/** Prove possession of a secret key, for one patient under these parameters. */
export async function provePossession(
  bcp: Bcp,
  keys: KeyPair,
  patient: string,
  random: RandomSource,
): Promise<ProofOfPossession> {
  const nonce = uniformBits(nonceBits(bcp.parameters), random);
  const [commitment = 1n] = await bcp.ring.powers([
    { base: bcp.parameters.generator, exponent: nonce },
  ]);
  const c = challenge(bcp.parameters, patient, keys.publicKey, commitment);
  return { commitment, response: nonce + c * keys.secretKey.reveal() };
}

/** Encode for the wire. */
export function encodeKey(
  publicKey: bigint,
  { commitment, response }: ProofOfPossession,
  parameters: PublicParameters,
): { publicKey: Buffer; commitment: Buffer; response: Buffer } {
  return {
    publicKey: bytesFromInteger(publicKey, parameters.elementBytes),
    commitment: bytesFromInteger(commitment, parameters.elementBytes),
    response: bytesFromInteger(response, responseBytes(parameters)),
  };
}

/**
 * Decode a public key and accept it only with a valid proof.
 * @returns `h`
 * @throws DuoveilError `KEY_INVALID`
 */
export async function acceptPublicKey(
  bcp: Bcp,
  encoded: EncodedKey,
  patient: string,
): Promise<bigint> {
  const { parameters, engine, ring } = bcp;
  const elements = await decodeElements(
    [
      { bytes: encoded.publicKey, where: 'publicKey' },
      { bytes: encoded.commitment, where: 'commitment' },
    ],
    parameters,
    engine,
  ).catch((error: unknown) => {
    if (!isDuoveilError(error, 'CIPHERTEXT_INVALID')) throw error;
    throw keyInvalid(error.details.field, 'is not an element of the group', error);
  });
  const [publicKey = 1n, commitment = 1n] = elements;
  if (publicKey === 1n || publicKey === parameters.modulusSquared - 1n) {
    throw keyInvalid('publicKey', 'must not be 1 or -1');
  }
  if (encoded.response.length !== responseBytes(parameters)) {
    throw keyInvalid('response', `must have ${String(responseBytes(parameters))} bytes`);
  }
  const response = integerFromBytes(encoded.response);
  const c = challenge(parameters, patient, publicKey, commitment);
  const [left, right = 1n] = await ring.powers(
    [
      { base: parameters.generator, exponent: response },
      { base: publicKey, exponent: c },
    ],
    'public',
  );
  if (left !== ring.multiply(commitment, right)) {
    throw keyInvalid('response', 'does not prove possession for this patient');
  }
  return publicKey;
}

function challenge(
  parameters: PublicParameters,
  patient: string,
  publicKey: bigint,
  commitment: bigint,
): bigint {
  const name = Buffer.from(patient, 'utf8');
  const digest = createHash('sha256')
    .update('duoveil/proof-of-possession/v1/')
    .update(Buffer.from(parameters.digest, 'hex'))
    .update(bytesFromInteger(BigInt(name.length), 4))
    .update(name)
    .update(bytesFromInteger(publicKey, parameters.elementBytes))
    .update(bytesFromInteger(commitment, parameters.elementBytes))
    .digest();
  return integerFromBytes(digest);
}

function keyInvalid(field: string, requirement: string, cause?: unknown): Error {
  return duoveilError('KEY_INVALID', `public key: ${field} ${requirement}`, { field }, { cause });
}
