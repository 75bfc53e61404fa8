export {
  AdditiveKey,
  generateAdditiveKey,
  hidingBits,
  STATISTICAL_BITS,
  systemPrimes,
} from './additive-key.js';
export type {
  AdditiveCiphertext,
  AdditiveKeyPair,
  AdditiveParameters,
  AdditiveTerm,
  PrimeSource,
} from './additive-key.js';
export { CrtOpening } from './crt-opening.js';
export type { Factors } from './crt-opening.js';
export { isWellFormed, PROOF_ROOTS, proveWellFormed } from './well-formed.js';
