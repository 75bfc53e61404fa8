/** The fault simulation: seeded operation lists against real services. */
export { runBatch } from './batch.js';
export type { KeptAt, ListFailure, StoreReader } from './batch.js';
export { FaultCounts } from './fault-counts.js';
export { KNOWN_SEEDS } from './known-seeds.js';
export type { Doubles } from './list-run.js';
export { GatewayCertificates } from './gateway-certificates.js';
export { planList, planServers } from './operations.js';
export type { GatewayOperation, MessageFault, OperationList } from './operations.js';
export { reportOf } from './report.js';
export { differenceInStore, expectedResults } from './row-results.js';
export type { KeptDecision, RowResult } from './row-results.js';
export type { SharedDatabase } from './server-faults.js';
export { planBatches, simulateFaults } from './simulation.js';
export type { BatchPlan, SimulationResult } from './simulation.js';
export { ToldRows } from './told-rows.js';
