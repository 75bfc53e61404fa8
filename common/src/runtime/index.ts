/** What every party's programme needs to run: identities, TLS, servers, clients, settings, logs. */
export { formatAddress, parseAddress } from './address.js';
export type { Address } from './address.js';
export { linkedAbort } from './abort.js';
export type { LinkedAbort } from './abort.js';
export { openBox, sealBox } from './aead.js';
export { Bell } from './bell.js';
export type { CallContext } from './call-context.js';
export {
  issuedCertificates,
  issueFrom,
  revokeFrom,
  serialNumberOf,
} from './authority-directory.js';
export type { IssuedCertificate } from './authority-directory.js';
export {
  createAuthority,
  credentialFiles,
  issueCertificate,
  readAuthority,
  signRevocationList,
  writeAuthority,
  writeCredentials,
} from './certificates.js';
export type { Authority, CredentialFiles, Credentials } from './certificates.js';
export { callBidi, callServerStream, callUnary, connect } from './client.js';
export type { BidiCall, ClientMethod, Connection, ConnectOptions } from './client.js';
export { abortReason, systemClock, systemSleep } from './clock.js';
export type { Clock, Sleep } from './clock.js';
export {
  firstIssue,
  readJsonFile,
  readSettingFile,
  storageError,
  syncDirectory,
  systemErrorCode,
  writeFileAtomic,
  writeNewFileAtomic,
} from './files.js';
export { lockFile, ownersOnly } from './file-lock.js';
export type { FileLock } from './file-lock.js';
export type { Health } from './health.js';
export {
  defaultTrustDomain,
  formatIdentity,
  identityOfCertificate,
  parseIdentity,
  requireOwnPatient,
  roles,
} from './identity.js';
export type { Identity, Role } from './identity.js';
export { runMain, unlessStopped, untilStopped } from './lifecycle.js';
export type { StopReason } from './lifecycle.js';
export { changeLogLevel, createLogger, loggable, logLevels, silentLogger } from './logging.js';
export type { LogFields, Logger, LogLevel } from './logging.js';
export { metrics } from './metrics.js';
export { isPatientId, parsePatientId } from './patient-id.js';
export type { PatientId } from './patient-id.js';
export { isTransient, retrying } from './retrying.js';
export type { RetryOptions } from './retrying.js';
export { seal, unseal } from './sealing.js';
export type { SealedEnvelope, SealingSecret } from './sealing.js';
export { readSecretSetting } from './secret-setting.js';
export type { SecretSetting } from './secret-setting.js';
export { defaultMaxMessageBytes, startServer } from './server.js';
export type { RunningServer, ServerOptions } from './server.js';
export { bidi, implement, serverStream, unary } from './service.js';
export { Turns } from '../turns.js';
export type {
  BidiHandler,
  BidiMethod,
  MethodFor,
  MethodOptions,
  ServerStreamMethod,
  Service,
  UnaryMethod,
  UnaryOptions,
} from './service.js';
export { serverSettings } from './server-settings.js';
export {
  flagName,
  resolveSettings,
  secretSetting,
  settingFlags,
  variableName,
} from './settings.js';
export type { SettingFlag, SettingsSources } from './settings.js';
export { decodeError, encodeError } from './status.js';
export { LiveReading } from './live-reading.js';
export type { LiveReadingOptions } from './live-reading.js';
export { loadTls, tlsFromCredentials } from './tls.js';
export type { Tls } from './tls.js';
export { LiveTls, openTls } from './live-tls.js';
export type { LiveTlsOptions } from './live-tls.js';
export type { TlsSource } from './tls-source.js';
export { requireSecureBits } from './key-bits.js';
export { runProgram, withSettings } from './command.js';
export { startTelemetry, telemetrySettings } from './telemetry.js';
export type { Telemetry, TelemetrySettings } from './telemetry.js';
export { beginTrace, inSpan } from './tracing.js';
