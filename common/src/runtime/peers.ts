/**
 * Whose certificates a server still believes. The handshake has checked a certificate once; a connection
 * may outlive what it was checked for, so every call is checked again and calls in progress are ended.
 */
import type { PeerCertificate } from 'node:tls';
import { duoveilError } from '../errors.js';
import type { DuoveilError } from '../errors.js';
import type { Clock } from './clock.js';
import type { RevocationList } from './revocation.js';

/** What is looked at of a peer's certificate. */
export type ShownCertificate = Pick<PeerCertificate, 'serialNumber' | 'valid_to'>;

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

/** Whoever has a new certificate by now connects again with it. */
function expiredMeanwhile(): DuoveilError {
  return duoveilError('NOT_READY', 'the certificate of this connection has expired: connect again');
}
