/** Real parties, each a process of its own. */
export { Child } from './child.js';
export type { ChildOptions, Ending } from './child.js';
export { Mosquitto } from './mosquitto.js';
export type { MosquittoOptions } from './mosquitto.js';
export { Observed } from './observed.js';
export { OperatorsAccess } from './operators-access.js';
export type { OperatorRole } from './operators-access.js';
export { PERMISSIONS } from './permissions.js';
export { Postgres } from './postgres.js';
export { Servers } from './servers.js';
export type { Replica, ServerOptions } from './servers.js';
export { Supervised } from './supervised.js';
