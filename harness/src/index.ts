/**
 * Real parties for the integration tests of whoever builds on duoveil: a deployment on free ports with
 * temporary state, gateways, and faults between them. Begin with {@link startDeployment}.
 *
 * @packageDocumentation
 */
export { awaitDecisions } from './library/decisions.js';
export type { ExpectedDecisions } from './library/decisions.js';
export { Deployment, startDeployment } from './library/deployment.js';
export type { DeploymentOptions, GatewayOptions, PatientOptions } from './library/deployment.js';
export { Link } from './library/link.js';
export type { FaultTarget } from './library/link.js';
export { Server } from './library/server.js';
