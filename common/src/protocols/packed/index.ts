export { encryptSamples, readSample } from './encrypt.js';
export { distanceOfLeverage } from './leverage.js';
export type { CryptoServiceProviderRole, ProviderKey, ServiceProviderRole } from './roles.js';
export {
  acceptScore,
  answerScore,
  deriveZero,
  encryptProviderShare,
  freshZero,
  keepCrossTerms,
  keepProviderShare,
  prepareScore,
  requestScore,
} from './score.js';
export type { CspModel, PendingScore, PreparedScore, ProviderModel } from './score.js';
export {
  invertGram,
  keepCoefficients,
  maskCoefficients,
  maskGram,
  maskSums,
  shareGram,
} from './train.js';
export type {
  CoefficientMasks,
  InvertedGram,
  MaskedCoefficientColumns,
  MaskedCoefficients,
  MatrixMask,
  PackedLines,
  SumMasks,
} from './train.js';
export { inLines, messageCounts } from './shape.js';
export type { MessageCounts } from './shape.js';
