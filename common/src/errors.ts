/**
 * Every error that duoveil raises on purpose: one discriminated union with stable codes.
 *
 * A message says what is wrong, where, and what would be right. It never carries a secret, a
 * plaintext or a ciphertext: it may be shown to a peer as it stands. The `cause`, if any, is for the
 * log of the party that raised the error and stays off the wire.
 */

/** A code that says everything by itself. */
export type NoDetails = Readonly<Record<string, never>>;

/**
 * What each code carries beside its message, for programs. Codes are stable: they are part of the
 * public interface, and `docs/errors.md` lists them.
 */
export interface ErrorDetails {
  /** A command-line option or an environment variable is wrong. */
  OPTION_INVALID: { readonly option: string };
  /** A configuration file is wrong. `path` is the key within it. */
  CONFIG_INVALID: { readonly path: string };
  /** An input recording, or a backup, is missing, empty or not what it should be. */
  INPUT_INVALID: { readonly source: string };
  /** A channel schema or a monitoring policy is wrong. */
  SCHEMA_INVALID: { readonly field: string };
  /** Schema and window do not fit the modulus. `sufficientBits` is the smallest |N| that would. */
  BOUNDS_EXCEEDED: { readonly sufficientBits: number };
  /** Public parameters or a master key fail their checks. */
  PARAMETERS_INVALID: { readonly field: string };
  /** The parameters offered are not the ones whose digest was pinned. */
  PARAMETERS_MISMATCH: { readonly expected: string };
  /** A public key or its proof of possession is not acceptable. */
  KEY_INVALID: { readonly field: string };
  /** The crypto service provider does not hold this patient's key at the moment: register it. */
  KEY_NOT_REGISTERED: NoDetails;
  /** The crypto service provider has forgotten this model: load it again. */
  MODEL_NOT_LOADED: NoDetails;
  /** The session of oblivious transfers, or the comparison, is not there any more: begin again. */
  SESSION_NOT_OPEN: NoDetails;
  /** This output is switched off where it would be computed. */
  OUTPUT_NOT_ALLOWED: { readonly output: string };
  /** The budget of this patient, or of this service provider, is spent. */
  BUDGET_EXCEEDED: { readonly retryAfterMs: number };
  /** A ciphertext is out of range, not a unit, or outside the group. */
  CIPHERTEXT_INVALID: { readonly field: string };
  /** The one, generic answer to anything that does not decrypt. */
  DECRYPTION_FAILED: NoDetails;
  /** A sealed file or value does not open: wrong secret, or damaged. */
  UNSEALING_FAILED: NoDetails;
  /** A message lacks a field, or a field has the wrong form, length or count. */
  MESSAGE_INVALID: { readonly field: string };
  /** A message is longer than the receiver's limit. */
  MESSAGE_TOO_LARGE: NoDetails;
  /** No such patient here. */
  PATIENT_NOT_ENROLLED: NoDetails;
  /** The patient is enrolled with another key, schema or policy. */
  PATIENT_CONFLICT: { readonly field: string };
  /** Another service provider on the same database has this patient at the moment; try again. */
  PATIENT_ELSEWHERE: NoDetails;
  /** No such alarm is kept. */
  ALARM_UNKNOWN: NoDetails;
  /** A sample's sequence number is not the next one. */
  SEQUENCE_GAP: { readonly expected: bigint };
  /** A sequence number was used before, for a different sample. */
  SEQUENCE_CONFLICT: { readonly sequence: bigint };
  /** The peer shows no certificate that this deployment issued, or one that is not valid any more. */
  UNAUTHENTICATED: NoDetails;
  /** The peer's role, or its patient, does not open this call. */
  PERMISSION_DENIED: NoDetails;
  /** An operator's token, or the answer of the identity provider, does not prove who it is. */
  SIGN_IN_FAILED: NoDetails;
  /** A call that changes something does not show that the operator's own page makes it. */
  CSRF_TOKEN_INVALID: NoDetails;
  /** The HTTP API has no such path. */
  ROUTE_UNKNOWN: NoDetails;
  /** The path is for other methods of HTTP. */
  METHOD_NOT_ALLOWED: { readonly allowed: readonly string[] };
  /** A body of HTTP is of a type that is not read here. */
  CONTENT_TYPE_INVALID: NoDetails;
  /** A peer cannot be reached. */
  PEER_UNAVAILABLE: { readonly peer: string };
  /** A peer did not answer in time. */
  DEADLINE_EXCEEDED: { readonly peer: string };
  /** A peer answered something that cannot be right. */
  PEER_MISBEHAVED: { readonly peer: string };
  /** The server is going down or not ready yet; try again. */
  NOT_READY: NoDetails;
  /** The crypto service provider is sealed: try again once its custodians have unsealed it. */
  CSP_SEALED: NoDetails;
  /** Too much at once; try again after `retryAfterMs`. */
  OVERLOADED: { readonly retryAfterMs: number };
  /** The disk is full: nothing was acknowledged that is not on disk. */
  STORAGE_FULL: NoDetails;
  /** The database cannot be reached, or gave up, for the moment; try again. */
  STORAGE_UNAVAILABLE: NoDetails;
  /** A gateway's spool is damaged. `sequence` is the first sample that cannot be sent. */
  SPOOL_DAMAGED: { readonly sequence: bigint };
  /** The store failed otherwise. */
  STORAGE_FAILED: NoDetails;
  /** A defect. The log of the party that raised it says more. */
  INTERNAL: NoDetails;
}

/** A stable error code. */
export type ErrorCode = keyof ErrorDetails;

/** How an error is made: code, message, details if the code has any, and a cause for the log. */
export type ErrorArguments<C extends ErrorCode> = NoDetails extends ErrorDetails[C]
  ? [message: string, details?: ErrorDetails[C], options?: ErrorOptions]
  : [message: string, details: ErrorDetails[C], options?: ErrorOptions];

class CodedError<C extends ErrorCode> extends Error {
  override readonly name = 'DuoveilError';
  readonly code: C;
  readonly details: ErrorDetails[C];

  constructor(code: C, ...[message, details, options]: ErrorArguments<C>) {
    super(message, options);
    this.code = code;
    this.details = details ?? ({} as ErrorDetails[C]);
  }
}

/** The discriminated union: narrow on `code` to read `details`. */
export type DuoveilError = { [C in ErrorCode]: CodedError<C> }[ErrorCode];

/** Make an error of the union. */
export function duoveilError<C extends ErrorCode>(
  code: C,
  ...args: ErrorArguments<C>
): CodedError<C> {
  return new CodedError(code, ...args);
}

/** Is this one of ours? With a code, is it that one? */
export function isDuoveilError(error: unknown): error is DuoveilError;
export function isDuoveilError<C extends ErrorCode>(
  error: unknown,
  code: C,
): error is Extract<DuoveilError, { code: C }>;
export function isDuoveilError(error: unknown, code?: ErrorCode): boolean {
  return error instanceof CodedError && (code === undefined || error.code === code);
}

/** Anything thrown, as an error of the union: what is not ours becomes `INTERNAL`, its cause kept. */
export function toDuoveilError(error: unknown): DuoveilError {
  if (isDuoveilError(error)) return error;
  return duoveilError('INTERNAL', 'an internal error occurred', {}, { cause: error });
}

/** Exit status of the command line for an error: 2 where the user's input or options are wrong, else 1. */
export function exitStatus(error: DuoveilError): 1 | 2 {
  switch (error.code) {
    case 'OPTION_INVALID':
    case 'CONFIG_INVALID':
    case 'INPUT_INVALID':
    case 'SCHEMA_INVALID':
    case 'BOUNDS_EXCEEDED':
      return 2;
    default:
      return 1;
  }
}
