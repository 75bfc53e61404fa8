/** The wire contract: every message, enumeration and service of `duoveil/v1/*.proto`. */
export * from './gen/duoveil/v1/alarms.js';
export * from './gen/duoveil/v1/arithmetic.js';
export * from './gen/duoveil/v1/baseline.js';
export * from './gen/duoveil/v1/ciphertext.js';
export * from './gen/duoveil/v1/custody.js';
export * from './gen/duoveil/v1/enrolment.js';
export * from './gen/duoveil/v1/ingest.js';
export * from './gen/duoveil/v1/monitoring.js';
export * from './gen/duoveil/v1/operations.js';
export * from './gen/duoveil/v1/packed.js';
export * from './gen/duoveil/v1/parameters.js';
export * from './gen/duoveil/v1/statistics.js';
