/**
 * Who a party is: a SPIFFE URI in its certificate, for example
 * `spiffe://duoveil.internal/gateway/patient-1`. A certificate carries exactly one.
 */
import type { X509Certificate } from 'node:crypto';
import { duoveilError } from '../errors.js';
import { isPatientId } from './patient-id.js';
import type { PatientId } from './patient-id.js';

/** Every role there is. */
export const roles = ['csp', 'sp', 'gateway', 'operator', 'auditor', 'custodian'] as const;

/** What a party may do follows from its role. */
export type Role = (typeof roles)[number];

/** A party, as its certificate names it. `trustDomain` is the deployment it belongs to. */
export type Identity =
  | { readonly trustDomain: string; readonly role: 'csp' | 'sp' }
  | { readonly trustDomain: string; readonly role: 'gateway'; readonly patient: PatientId }
  | {
      readonly trustDomain: string;
      readonly role: 'operator' | 'auditor' | 'custodian';
      /** The person's or programme's account: 1 to 64 of `[A-Za-z0-9._-]`. */
      readonly name: string;
    };

/** The trust domain of deployments that do not choose one. */
export const defaultTrustDomain = 'duoveil.internal';

const uriPattern = /^spiffe:\/\/([a-z0-9._-]{1,255})\/([a-z]+)(?:\/([A-Za-z0-9._-]{1,64}))?$/;

/** An identity as a SPIFFE URI. */
export function formatIdentity(identity: Identity): string {
  const base = `spiffe://${identity.trustDomain}/${identity.role}`;
  switch (identity.role) {
    case 'csp':
    case 'sp':
      return base;
    case 'gateway':
      return `${base}/${identity.patient}`;
    case 'operator':
    case 'auditor':
    case 'custodian':
      return `${base}/${identity.name}`;
  }
}

/** A SPIFFE URI as an identity; undefined where it is not one of ours. */
export function parseIdentity(uri: string): Identity | undefined {
  const [, trustDomain, role, name] = uriPattern.exec(uri) ?? [];
  if (trustDomain === undefined) return undefined;
  switch (role) {
    case 'csp':
    case 'sp':
      return name === undefined ? { trustDomain, role } : undefined;
    case 'gateway':
      return name !== undefined && isPatientId(name)
        ? { trustDomain, role, patient: name }
        : undefined;
    case 'operator':
    case 'auditor':
    case 'custodian':
      return name !== undefined && isPatientId(name) ? { trustDomain, role, name } : undefined;
    default:
      return undefined;
  }
}

// One entry of Node's rendering of the subject's alternative names. An entry that holds a comma or
// a quote is rendered as a JSON string, so entries must be told apart before they are read: a name
// such as `x, URI:spiffe://…` inside one entry must not pass for an entry of its own.
const alternativeName = /(?<kind>[A-Za-z ]+):(?<value>"(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;

/** The one identity in Node's rendering of a certificate's subject alternative names. */
function identityInAlternativeNames(text: string | undefined): Identity | undefined {
  if (text === undefined) return undefined;
  const uris: string[] = [];
  alternativeName.lastIndex = 0;
  while (alternativeName.lastIndex < text.length) {
    const groups = alternativeName.exec(text)?.groups;
    if (groups === undefined) return undefined;
    if (groups['kind'] === 'URI') uris.push(groups['value'] ?? '');
  }
  const [uri, ...others] = uris;
  return uri === undefined || others.length > 0 ? undefined : parseIdentity(uri);
}

/** The identity in a certificate; undefined where it has none of ours, or more than one URI. */
export function identityOfCertificate(certificate: X509Certificate): Identity | undefined {
  return identityInAlternativeNames(certificate.subjectAltName);
}

/** The same for a certificate as `node:tls` shows a peer's. */
export function identityOfPeer(certificate: {
  readonly subjectaltname?: string | undefined;
}): Identity | undefined {
  return identityInAlternativeNames(certificate.subjectaltname);
}

/**
 * A gateway acts for its own patient only; other roles are not bound to one here.
 * @throws PERMISSION_DENIED
 */
export function requireOwnPatient(identity: Identity, patient: PatientId): void {
  if (identity.role === 'gateway' && identity.patient !== patient) {
    throw duoveilError(
      'PERMISSION_DENIED',
      "a gateway may name its own certificate's patient only",
    );
  }
}
