export {
  acceptTransfers,
  BASE_TRANSFERS,
  chooseTransfers,
  GROUP_BYTES,
  offerTransfers,
} from './base-ot.js';
export type { BaseSender } from './base-ot.js';
export { CircuitBuilder, evaluatePlain } from './circuit.js';
export type { Circuit, Gate, Wire } from './circuit.js';
export { evaluatorBits, garblerBits, levelBits, levelCircuit, levelOf } from './comparator.js';
export { evaluate, garble, LABEL_BYTES } from './half-gates.js';
export type { GarbledCircuit, OutputMasks } from './half-gates.js';
export {
  acceptLevel,
  evaluateComparison,
  garbleComparison,
  inputCount,
  outputCount,
  requestComparison,
} from './level.js';
export type { LeverageShares, PendingComparison } from './level.js';
export { answerLabels, drawDelta, messageBytes, requestLabels } from './ot-extension.js';
export type { ExtensionReceiver, ExtensionSender } from './ot-extension.js';
