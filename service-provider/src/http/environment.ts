/** What the HTTP API works with. */
import type { RandomSource } from '@duoveil/common/random';
import type { Clock, Logger } from '@duoveil/common/runtime';

import type { Fleet } from '../fleet/fleet.js';
import type { Events } from './events.js';
import type { IdentityProvider } from './oidc.js';
import type { TokenOperators } from './operators.js';
import type { Sessions } from './sessions.js';
import type { SystemSource } from './system.js';

/** See the file's comment. */
export interface HttpEnvironment {
  readonly fleet: Fleet;
  readonly system: SystemSource;
  readonly events: Events;
  readonly sessions: Sessions;
  /** Operators who have a token; undefined where tokens are not accepted. */
  readonly operators: () => TokenOperators | undefined;
  /** Undefined where there is no identity provider. */
  readonly oidc: IdentityProvider | undefined;
  /** Are browsers to come by TLS only? */
  readonly secure: boolean;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly limits: HttpLimits;
}

/** Bounds on what callers may do. */
export interface HttpLimits {
  /** Requests a minute from one address. */
  readonly requestsPerMinute: number;
  /** Attempts to sign in a minute from one address. */
  readonly signInsPerMinute: number;
  /** Longest body, in bytes. */
  readonly bodyBytes: number;
  /** Longest that an answer may take, in milliseconds. */
  readonly answerMs: number;
}

export const defaultLimits: HttpLimits = {
  requestsPerMinute: 600,
  signInsPerMinute: 10,
  bodyBytes: 16_384,
  answerMs: 20_000,
};
