/**
 * The one place that maps errors to HTTP: problem details (RFC 9457) with our stable code. A cause
 * never leaves the process.
 */
import { toDuoveilError, type DuoveilError, type ErrorCode } from '@duoveil/common/errors';
import { STATUS_CODES } from 'node:http';
import { z } from 'zod';

/** The media type of {@link Problem}. */
export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** What is sent in place of an answer. */
export const problemSchema = z
  .object({
    type: z.literal('about:blank'),
    title: z.string().describe('what the status stands for'),
    status: z.int().min(400).max(599),
    detail: z.string().describe('what is wrong, where, and what would be right'),
    code: z.string().describe('stable; docs/errors.md lists them'),
    field: z.string().optional().describe('the field that is wrong, where one is'),
    requestId: z.string().describe("the server's log has it too"),
  })
  .meta({ id: 'Problem' });

export type Problem = z.output<typeof problemSchema>;

/** Whatever else goes wrong is none of the caller's doing: 500. */
const statuses: Partial<Record<ErrorCode, number>> = {
  MESSAGE_INVALID: 400,
  UNAUTHENTICATED: 401,
  SIGN_IN_FAILED: 401,
  PERMISSION_DENIED: 403,
  CSRF_TOKEN_INVALID: 403,
  ROUTE_UNKNOWN: 404,
  PATIENT_NOT_ENROLLED: 404,
  ALARM_UNKNOWN: 404,
  METHOD_NOT_ALLOWED: 405,
  MESSAGE_TOO_LARGE: 413,
  CONTENT_TYPE_INVALID: 415,
  OVERLOADED: 429,
  PEER_MISBEHAVED: 502,
  NOT_READY: 503,
  PATIENT_ELSEWHERE: 503,
  PEER_UNAVAILABLE: 503,
  STORAGE_UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
  STORAGE_FULL: 507,
};

/** The status of an error. */
export function httpStatus({ code }: Pick<DuoveilError, 'code'>): number {
  return statuses[code] ?? 500;
}

const MAXIMUM_DETAIL = 1000;

/** Anything a handler threw, as it is sent. */
export function problemOf(thrown: unknown, requestId: string): Problem {
  const error = toDuoveilError(thrown);
  const status = httpStatus(error);
  // What an error says of the server's own failing is for its log.
  const detail =
    status === 500
      ? `an internal error occurred; the server's log has it under request ${requestId}`
      : error.message;
  return {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail: detail.slice(0, MAXIMUM_DETAIL),
    code: status === 500 ? 'INTERNAL' : error.code,
    ...('field' in error.details && { field: error.details.field.slice(0, MAXIMUM_DETAIL) }),
    requestId,
  };
}

/** For how many seconds a caller should wait before it tries again, where an error says so. */
export function retryAfterSeconds(error: DuoveilError): number | undefined {
  if (!('retryAfterMs' in error.details)) return undefined;
  return Math.max(1, Math.ceil(error.details.retryAfterMs / 1000));
}
