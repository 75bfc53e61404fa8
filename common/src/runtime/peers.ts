/**
 * Whose certificates a server still believes, and how much each party may do at once. The handshake has
 * checked a certificate once; a connection may outlive what it was checked for, so every call is checked
 * again and calls in progress are ended.
 */
import type { PeerCertificate } from 'node:tls';
import { duoveilError } from '../errors.js';
import type { DuoveilError } from '../errors.js';
import type { Clock } from './clock.js';
import { formatIdentity } from './identity.js';
import type { Identity, Role } from './identity.js';
import type { RevocationList } from './revocation.js';

/** What is looked at of a peer's certificate. */
export type ShownCertificate = Pick<PeerCertificate, 'serialNumber' | 'valid_to'>;

/**
 * Calls that one identity may have in progress, over all its connections. A gateway has two streams and
 * now and then a call beside them. A service provider's replicas have one identity between them, and as many
 * calls as they watch patients.
 */
const MOST_CALLS: Readonly<Record<Role, number>> = {
  gateway: 32,
  sp: 4_096,
  csp: 256,
  operator: 256,
  auditor: 64,
  custodian: 64,
};

/** How long whoever has too many is to wait, in milliseconds. */
const RETRY_AFTER_MS = 1_000;

/** One call in progress, as far as its caller's certificate concerns it. */
interface HeldCall {
  readonly certificate: ShownCertificate;
  readonly end: (reason: DuoveilError) => void;
}

/** The callers of one server. */
export class Peers {
  readonly #revoked: () => RevocationList;
  readonly #clock: Clock;
  readonly #calls = new Set<HeldCall>();
  /** Calls in progress, by identity. */
  readonly #counts = new Map<string, number>();

  /** @param revoked the list in force at the moment */
  constructor(revoked: () => RevocationList, clock: Clock) {
    this.#revoked = revoked;
    this.#clock = clock;
  }

  /**
   * Is the certificate, which the handshake has accepted, still good?
   * @throws UNAUTHENTICATED
   */
  admit(certificate: ShownCertificate): void {
    if (this.#isRevoked(certificate)) throw revoked();
    if (this.#isExpired(certificate)) {
      throw duoveilError('UNAUTHENTICATED', 'the certificate of this connection has expired');
    }
  }

  /**
   * Begins a call of somebody's.
   * @returns how to end it
   * @throws OVERLOADED where they have as many in progress as they may
   */
  enter(identity: Identity): () => void {
    const name = formatIdentity(identity);
    const count = this.#counts.get(name) ?? 0;
    if (count >= MOST_CALLS[identity.role]) throw tooMany(count);
    this.#counts.set(name, count + 1);
    let hasLeft = false;
    return () => {
      if (hasLeft) return;
      hasLeft = true;
      const left = (this.#counts.get(name) ?? 1) - 1;
      if (left > 0) this.#counts.set(name, left);
      else this.#counts.delete(name);
    };
  }

  /**
   * Keeps a call under watch: `end` is called when its certificate is revoked or expires.
   * @returns how to end that
   */
  hold(certificate: ShownCertificate, end: (reason: DuoveilError) => void): () => void {
    const call = { certificate, end };
    this.#calls.add(call);
    return () => {
      this.#calls.delete(call);
    };
  }

  /** Ends the calls whose certificates are not good any more. */
  sweep(): void {
    for (const { certificate, end } of [...this.#calls]) {
      if (this.#isRevoked(certificate)) end(revoked());
      else if (this.#isExpired(certificate)) end(expiredMeanwhile());
    }
  }

  #isRevoked({ serialNumber }: ShownCertificate): boolean {
    return this.#revoked().has(serialNumber);
  }

  #isExpired({ valid_to }: ShownCertificate): boolean {
    return this.#clock.now().getTime() > Date.parse(valid_to);
  }
}

function revoked(): DuoveilError {
  return duoveilError('UNAUTHENTICATED', 'the certificate was revoked');
}

function tooMany(count: number): DuoveilError {
  return duoveilError(
    'OVERLOADED',
    `${count} calls of this certificate's party are in progress, and it may have no more at once`,
    { retryAfterMs: RETRY_AFTER_MS },
  );
}

/** Whoever has a new certificate by now connects again with it. */
function expiredMeanwhile(): DuoveilError {
  return duoveilError('NOT_READY', 'the certificate of this connection has expired: connect again');
}
