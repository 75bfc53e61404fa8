/** The gateway as a library: enrol a patient, stream a recording, watch decisions. */
export { checkRecording } from './check-recording.js';
export type { RecordingCount } from './check-recording.js';
export { watchDecisions } from './decisions.js';
export type { DecisionEvent, Outcome, Statistic, WatchOptions } from './decisions.js';
export { enrol } from './enrol.js';
export type { Enrolled, EnrolOptions } from './enrol.js';
export { jsonLine, jsonSummary, readableLine, readableSummary } from './format.js';
export { addMonitoringOptions, parseMonitoringOptions } from './monitoring-options.js';
export type { Monitoring, MonitoringValues } from './monitoring-options.js';
export { writeLine } from './output.js';
export type { RowEvent, RunEvent, RunSummary, TrainedEvent } from './run-events.js';
export { runRecording } from './run-recording.js';
export type { RecordingOptions } from './run-recording.js';
export { sampleBytes, SampleEncoder } from './sample.js';
export type { PlainSample } from './sample.js';
export { sealingSecret } from './sealing-secret.js';
export type { SealingSettings } from './sealing-secret.js';
export { csvSource } from './sources/index.js';
export type { CsvOptions, Source, SourceRow } from './sources/index.js';
export { Spool } from './spool.js';
export type { SpooledSample, SpoolOptions } from './spool.js';
export {
  hasSecretKey,
  readSecretKey,
  readState,
  requireState,
  stateFiles,
  writeState,
} from './state.js';
export type { GatewayState, StateFiles } from './state.js';
export { fetchStatistics } from './statistics.js';
export type { BaselineStatistics } from './statistics.js';
export { runUplink } from './uplink.js';
export type { UplinkOptions } from './uplink.js';
