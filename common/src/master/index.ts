export { MasterDecryption } from './master-decryption.js';
export { checkMasterKey, decodeMasterKey, encodeFactors } from './master-key.js';
export type { MasterKey } from './master-key.js';
export { setUp, systemSafePrimes } from './set-up.js';
export type { SafePrimeSource, SetUpOptions } from './set-up.js';
