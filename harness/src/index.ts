/** What tests of a deployment need: real parties, and what goes wrong between them. */
export { CspProxy } from './faults/csp-proxy.js';
export type { CspProxyOptions, Meddling, PassingCall } from './faults/csp-proxy.js';
export * from './parties/index.js';
