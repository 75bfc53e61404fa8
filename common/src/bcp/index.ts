export {
  ciphertext as ciphertextOf,
  decodeCiphertexts,
  decodeElements,
  decodeOpenings,
  encodeCiphertext,
  encodeOpening,
  maskedOpening as maskedOpeningOf,
} from './ciphertext.js';
export type { Ciphertext, EncodedCiphertext, MaskedOpening } from './ciphertext.js';
export { decodeSecretKey, decrypt, encodeSecretKey, generateKeyPair, keyPairOf } from './keys.js';
export type { KeyPair, SecretKey } from './keys.js';
export {
  GENERATOR_FAMILIES,
  MODULUS_BITS_RANGE,
  checkParameters,
  decodeParameters,
  encodeParameters,
  parseParametersDigest,
  publicParameters,
  requireMeant,
  requirePinned,
} from './parameters.js';
export type {
  EncodedParameters,
  GeneratorFamily,
  ParametersDigest,
  PublicParameters,
} from './parameters.js';
export { acceptPublicKey, encodeKey, provePossession } from './possession.js';
export type { EncodedKey, ProofOfPossession } from './possession.js';
export { Bcp, KeyedBcp } from './scheme.js';
export type { ScaledCiphertext } from './scheme.js';
export type { StrongDecryption } from './strong-decryption.js';
