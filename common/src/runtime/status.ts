/**
 * The one place that maps errors to gRPC and back. On the wire: a status code for programs that know
 * nothing of duoveil, the message, and as trailing metadata `duoveil-code`, `duoveil-details` (JSON,
 * 64-bit integers as strings) and `duoveil-request-id`. A cause never leaves the process.
 */
import { Metadata, status as Status } from '@grpc/grpc-js';
import type { ServiceError } from '@grpc/grpc-js';
import { z } from 'zod';
import { duoveilError, toDuoveilError } from '../errors.js';
import type { DuoveilError, ErrorCode, ErrorDetails } from '../errors.js';

const codeKey = 'duoveil-code';
const detailsKey = 'duoveil-details';
const requestIdKey = 'duoveil-request-id';
const maximumMessageLength = 1000;

/** An error as gRPC sends it. */
export interface WireStatus {
  readonly code: Status;
  /** gRPC's name for the message. */
  readonly details: string;
  readonly metadata: Metadata;
}

const statusOfCode: Readonly<Record<ErrorCode, Status>> = {
  OPTION_INVALID: Status.FAILED_PRECONDITION,
  CONFIG_INVALID: Status.FAILED_PRECONDITION,
  INPUT_INVALID: Status.FAILED_PRECONDITION,
  SCHEMA_INVALID: Status.INVALID_ARGUMENT,
  BOUNDS_EXCEEDED: Status.INVALID_ARGUMENT,
  PARAMETERS_INVALID: Status.FAILED_PRECONDITION,
  PARAMETERS_MISMATCH: Status.FAILED_PRECONDITION,
  KEY_INVALID: Status.INVALID_ARGUMENT,
  KEY_NOT_REGISTERED: Status.FAILED_PRECONDITION,
  MODEL_NOT_LOADED: Status.FAILED_PRECONDITION,
  SESSION_NOT_OPEN: Status.FAILED_PRECONDITION,
  OUTPUT_NOT_ALLOWED: Status.FAILED_PRECONDITION,
  BUDGET_EXCEEDED: Status.RESOURCE_EXHAUSTED,
  CIPHERTEXT_INVALID: Status.INVALID_ARGUMENT,
  DECRYPTION_FAILED: Status.INVALID_ARGUMENT,
  UNSEALING_FAILED: Status.FAILED_PRECONDITION,
  MESSAGE_INVALID: Status.INVALID_ARGUMENT,
  MESSAGE_TOO_LARGE: Status.RESOURCE_EXHAUSTED,
  PATIENT_NOT_ENROLLED: Status.NOT_FOUND,
  PATIENT_CONFLICT: Status.ALREADY_EXISTS,
  PATIENT_ELSEWHERE: Status.UNAVAILABLE,
  ALARM_UNKNOWN: Status.NOT_FOUND,
  SEQUENCE_GAP: Status.FAILED_PRECONDITION,
  SEQUENCE_CONFLICT: Status.ALREADY_EXISTS,
  UNAUTHENTICATED: Status.UNAUTHENTICATED,
  PERMISSION_DENIED: Status.PERMISSION_DENIED,
  SIGN_IN_FAILED: Status.UNAUTHENTICATED,
  CSRF_TOKEN_INVALID: Status.PERMISSION_DENIED,
  ROUTE_UNKNOWN: Status.UNIMPLEMENTED,
  METHOD_NOT_ALLOWED: Status.UNIMPLEMENTED,
  CONTENT_TYPE_INVALID: Status.INVALID_ARGUMENT,
  PEER_UNAVAILABLE: Status.UNAVAILABLE,
  DEADLINE_EXCEEDED: Status.DEADLINE_EXCEEDED,
  PEER_MISBEHAVED: Status.UNKNOWN,
  NOT_READY: Status.UNAVAILABLE,
  CSP_SEALED: Status.UNAVAILABLE,
  OVERLOADED: Status.RESOURCE_EXHAUSTED,
  STORAGE_FULL: Status.RESOURCE_EXHAUSTED,
  STORAGE_UNAVAILABLE: Status.UNAVAILABLE,
  SPOOL_DAMAGED: Status.DATA_LOSS,
  STORAGE_FAILED: Status.INTERNAL,
  INTERNAL: Status.INTERNAL,
};

const text = z.string().max(maximumMessageLength).transform(clean);
const integer = z
  .string()
  .regex(/^(?:0|[1-9][0-9]{0,19})$/)
  .transform(BigInt);
const nothing = z.object({});

const detailsSchemas: { readonly [C in ErrorCode]: z.ZodType<ErrorDetails[C]> } = {
  OPTION_INVALID: z.object({ option: text }),
  CONFIG_INVALID: z.object({ path: text }),
  INPUT_INVALID: z.object({ source: text }),
  SCHEMA_INVALID: z.object({ field: text }),
  BOUNDS_EXCEEDED: z.object({ sufficientBits: z.int().nonnegative() }),
  PARAMETERS_INVALID: z.object({ field: text }),
  PARAMETERS_MISMATCH: z.object({ expected: text }),
  KEY_INVALID: z.object({ field: text }),
  KEY_NOT_REGISTERED: nothing,
  MODEL_NOT_LOADED: nothing,
  SESSION_NOT_OPEN: nothing,
  OUTPUT_NOT_ALLOWED: z.object({ output: text }),
  BUDGET_EXCEEDED: z.object({ retryAfterMs: z.number().nonnegative() }),
  CIPHERTEXT_INVALID: z.object({ field: text }),
  DECRYPTION_FAILED: nothing,
  UNSEALING_FAILED: nothing,
  MESSAGE_INVALID: z.object({ field: text }),
  MESSAGE_TOO_LARGE: nothing,
  PATIENT_NOT_ENROLLED: nothing,
  PATIENT_CONFLICT: z.object({ field: text }),
  PATIENT_ELSEWHERE: nothing,
  ALARM_UNKNOWN: nothing,
  SEQUENCE_GAP: z.object({ expected: integer }),
  SEQUENCE_CONFLICT: z.object({ sequence: integer }),
  UNAUTHENTICATED: nothing,
  PERMISSION_DENIED: nothing,
  SIGN_IN_FAILED: nothing,
  CSRF_TOKEN_INVALID: nothing,
  ROUTE_UNKNOWN: nothing,
  METHOD_NOT_ALLOWED: z.object({ allowed: z.array(text).max(16) }),
  CONTENT_TYPE_INVALID: nothing,
  PEER_UNAVAILABLE: z.object({ peer: text }),
  DEADLINE_EXCEEDED: z.object({ peer: text }),
  PEER_MISBEHAVED: z.object({ peer: text }),
  NOT_READY: nothing,
  CSP_SEALED: nothing,
  OVERLOADED: z.object({ retryAfterMs: z.number().nonnegative() }),
  STORAGE_FULL: nothing,
  STORAGE_UNAVAILABLE: nothing,
  SPOOL_DAMAGED: z.object({ sequence: integer }),
  STORAGE_FAILED: nothing,
  INTERNAL: nothing,
};

/**
 * Anything a handler threw, as gRPC sends it. What is not an error of ours, and every `INTERNAL`,
 * says no more than that the server's log knows.
 */
export function encodeError(thrown: unknown, requestId: string): WireStatus {
  const error = toDuoveilError(thrown);
  const message =
    error.code === 'INTERNAL'
      ? `an internal error occurred; the server's log has it under request ${requestId}`
      : error.message;
  const metadata = new Metadata();
  metadata.set(codeKey, error.code);
  metadata.set(detailsKey, encodeDetails(error));
  metadata.set(requestIdKey, requestId);
  return { code: statusOfCode[error.code], details: clean(message), metadata };
}

/** Metadata must be printable ASCII: everything else is escaped, which JSON can. */
function encodeDetails(error: DuoveilError): string {
  const json = JSON.stringify(error.details, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
  return json.replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * A failed call, at the client, as an error of ours.
 * @param peer the peer's role and address, for the message, for example `csp at 127.0.0.1:7001`
 * @param refusal why the client itself refused the server, if it did
 */
export function decodeError(error: ServiceError, peer: string, refusal?: string): DuoveilError {
  const code = metadataText(error, codeKey);
  if (code !== undefined && Object.hasOwn(detailsSchemas, code)) {
    return decodeKnown(code as ErrorCode, error, peer);
  }
  return decodeUnknown(error, peer, refusal);
}

function decodeKnown(code: ErrorCode, error: ServiceError, peer: string): DuoveilError {
  let details: unknown;
  try {
    details = JSON.parse(metadataText(error, detailsKey) ?? '{}');
  } catch {
    details = undefined;
  }
  const parsed = detailsSchemas[code].safeParse(details);
  if (!parsed.success) {
    return duoveilError('PEER_MISBEHAVED', `${peer} sent an error that is not well-formed`, {
      peer,
    });
  }
  // The compiler cannot see that a code and the details of the same code make an error.
  return (duoveilError as (...args: unknown[]) => DuoveilError)(
    code,
    clean(error.details),
    parsed.data,
  );
}

/** A status that no handler of ours made: from gRPC itself, at either end. */
function decodeUnknown(
  error: ServiceError,
  peer: string,
  refusal: string | undefined,
): DuoveilError {
  const options = { cause: error };
  switch (error.code) {
    case Status.DEADLINE_EXCEEDED:
      return duoveilError('DEADLINE_EXCEEDED', `${peer} did not answer in time`, { peer }, options);
    case Status.UNAVAILABLE:
    case Status.CANCELLED:
      return unavailable(error, peer, refusal);
    case Status.RESOURCE_EXHAUSTED:
      return /larger than/i.test(error.details)
        ? duoveilError(
            'MESSAGE_TOO_LARGE',
            `a message to or from ${peer} exceeds the limit on message sizes`,
            {},
            options,
          )
        : duoveilError('OVERLOADED', `${peer} is overloaded`, { retryAfterMs: 1000 }, options);
    case Status.UNAUTHENTICATED:
      return duoveilError('UNAUTHENTICATED', `${peer} does not know this certificate`, {}, options);
    case Status.PERMISSION_DENIED:
      return duoveilError('PERMISSION_DENIED', `${peer} does not permit this call`, {}, options);
    case Status.UNIMPLEMENTED:
      return duoveilError(
        'PEER_MISBEHAVED',
        `${peer} does not offer this call: are both of the same version?`,
        { peer },
        options,
      );
    default:
      return error.details.startsWith('Received RST_STREAM')
        ? unavailable(error, peer, refusal)
        : duoveilError(
            'PEER_MISBEHAVED',
            `${peer} answered with status ${Status[error.code]} and no reason`,
            { peer },
            options,
          );
  }
}

function unavailable(error: ServiceError, peer: string, refusal: string | undefined): DuoveilError {
  const hint = refusal ?? hintFor(error.details);
  return duoveilError(
    'PEER_UNAVAILABLE',
    `cannot reach the ${peer}: ${hint}`,
    { peer },
    { cause: error },
  );
}

/** What to look at, from gRPC's account of the last attempt to connect. */
function hintFor(details: string): string {
  if (details.includes('ECONNREFUSED')) {
    return 'the connection was refused; is it running, and is the address right?';
  }
  if (/ENOTFOUND|EAI_AGAIN|Name resolution failed/.test(details)) {
    return 'its name does not resolve; is the address right?';
  }
  if (/certificate|self.signed|SSL|TLS|alert|wrong version|secure/i.test(details)) {
    return (
      'the TLS handshake failed; are both certificates valid and of the same authority, and does ' +
      'the peer speak TLS 1.3?'
    );
  }
  if (
    /ECONNRESET|socket hang up|disconnected|Connection dropped|EPIPE|Failed to connect/.test(
      details,
    )
  ) {
    return (
      'it closed the connection; is it going down, or does it refuse this certificate (expired, or ' +
      'of another authority)?'
    );
  }
  return 'the connection failed';
}

function metadataText(error: ServiceError, key: string): string | undefined {
  // Locally made errors may lack metadata, whatever the type says.
  const metadata = error.metadata as Metadata | undefined;
  const [value] = metadata?.get(key) ?? [];
  return typeof value === 'string' ? value : undefined;
}

/**
 * A text from or for a peer: bounded, without control characters (it may end in a terminal or a
 * log), and without lone surrogates, which gRPC cannot encode.
 */
function clean(message: string): string {
  const printable = message.replace(/\p{Cc}/gu, ' ').slice(0, maximumMessageLength);
  return Buffer.from(printable, 'utf8').toString('utf8');
}
