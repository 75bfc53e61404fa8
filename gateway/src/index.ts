/**
 * The gateway as a library: {@link connect}, and then enrol, send, and be told what was decided.
 *
 * @packageDocumentation
 */
export { isDuoveilError } from '@duoveil/common/errors';
export type { DuoveilError, ErrorCode, ErrorDetails, NoDetails } from '@duoveil/common/errors';
export type { EngineChoice } from '@duoveil/common/modular';
export type { LogLevel, PatientId } from '@duoveil/common/runtime';
export type { Outcome, Statistic } from './decisions.js';
export type { MonitoringValues } from './monitoring-options.js';
export { connect, Gateway } from './sdk/gateway.js';
export type {
  ConnectOptions,
  Decision,
  DecisionsOptions,
  EnrolmentOptions,
} from './sdk/gateway.js';
export type { VitalSigns } from './sdk/outbox.js';
export type { BaselineStatistics } from './statistics.js';
