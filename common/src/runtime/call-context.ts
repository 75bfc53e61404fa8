import type { ServerUnaryCall } from '@grpc/grpc-js';
import { duoveilError } from '../errors.js';
import { formatIdentity, identityOfPeer } from './identity.js';
import type { Identity, Role } from './identity.js';
import type { Logger } from './logging.js';
import type { Peers, ShownCertificate } from './peers.js';

/** What a handler knows about a call beside the request. */
export interface CallContext {
  /** Who calls, as its certificate says; of a role the method was registered for. */
  readonly identity: Identity;
  /**
   * Aborted when the caller has gone, the time is up, or, for streams, the server goes down. Its
   * reason is an error to throw on. Pass it to whatever waits.
   */
  readonly signal: AbortSignal;
  /** Random, 16 hexadecimal digits; in every log line of the call and in the answer's metadata if it fails. */
  readonly requestId: string;
  /** The generation of keys that the call names, by the digest of its parameters, if it names one. */
  readonly parametersDigest?: string | undefined;
  /** Its lines carry the method, the request id, the caller and, of a gateway, the patient. */
  readonly logger: Logger;
}

/** What every kind of call at the server offers. */
export interface AnyServerCall extends Pick<
  ServerUnaryCall<unknown, unknown>,
  'getAuthContext' | 'getPath' | 'cancelled' | 'metadata'
> {
  on(event: 'cancelled', listener: () => void): unknown;
}

/** A caller that may make its call. */
export interface Caller {
  readonly identity: Identity;
  readonly certificate: ShownCertificate;
}

/**
 * The caller, if its certificate is still good and names a party of this deployment whose role may
 * make the call.
 * @throws UNAUTHENTICATED, PERMISSION_DENIED
 */
export function authorise(
  call: AnyServerCall,
  { trustDomain, peers }: { readonly trustDomain: string; readonly peers: Peers },
  allowed: readonly Role[],
): Caller {
  const certificate = call.getAuthContext().sslPeerCertificate;
  const identity = certificate === undefined ? undefined : identityOfPeer(certificate);
  if (certificate === undefined || identity?.trustDomain !== trustDomain) {
    throw duoveilError(
      'UNAUTHENTICATED',
      `the certificate names no party of ${trustDomain}: it needs exactly one URI of the form ` +
        `spiffe://${trustDomain}/<role>[/<name>]`,
    );
  }
  peers.admit(certificate);
  if (!allowed.includes(identity.role)) {
    throw duoveilError(
      'PERMISSION_DENIED',
      `${formatIdentity(identity)} may not call ${call.getPath()}: it is for ${allowed.join(', ')}`,
    );
  }
  return { identity, certificate };
}
