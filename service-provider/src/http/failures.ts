/** Whatever goes wrong with a call, ours or the framework's, as the one kind of answer. */
import type { Socket } from 'node:net';

import { duoveilError, isDuoveilError, type DuoveilError } from '@duoveil/common/errors';
import type { FastifyReply, FastifyRequest } from 'fastify';

import type { HttpEnvironment } from './environment.js';
import { problemOf, PROBLEM_TYPE, retryAfterSeconds } from './problem.js';

/** Answers with what was wrong, and logs it. */
export function answerProblem(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  { logger }: Pick<HttpEnvironment, 'logger'>,
): void {
  const error = asDuoveilError(thrown);
  const problem = problemOf(error, request.id);
  const fields = {
    ...{ method: request.method, route: request.routeOptions.url, requestId: request.id },
    ...{ status: problem.status, operator: request.session?.name, error },
  };
  if (problem.status >= 500) logger.error('request failed', fields);
  else logger.debug('request refused', fields);
  const retryAfter = retryAfterSeconds(error);
  if (retryAfter !== undefined) void reply.header('retry-after', retryAfter);
  if (error.code === 'METHOD_NOT_ALLOWED') void reply.header('allow', error.details.allowed.join());
  void reply
    .code(problem.status)
    .type(PROBLEM_TYPE)
    .header('cache-control', 'no-store')
    .serializer(JSON.stringify)
    .send(problem);
}

/** What the framework throws, as errors of ours; what nobody foresaw is `INTERNAL`. */
export function asDuoveilError(thrown: unknown): DuoveilError {
  if (isDuoveilError(thrown)) return thrown;
  const { statusCode, code } = (thrown ?? {}) as { statusCode?: unknown; code?: unknown };
  const options = { cause: thrown };
  if (isValidation(thrown)) return invalid(thrown);
  if (code === 'FST_ERR_HANDLER_TIMEOUT') {
    const peer = 'server';
    return duoveilError(
      'DEADLINE_EXCEEDED',
      'the answer took too long; try again',
      { peer },
      options,
    );
  }
  switch (statusCode) {
    case 400:
      return duoveilError('MESSAGE_INVALID', badRequest(code), { field: 'request' }, options);
    case 413:
      return duoveilError('MESSAGE_TOO_LARGE', 'the body is too long', {}, options);
    case 414:
      return duoveilError('MESSAGE_INVALID', 'the path is too long', { field: 'path' }, options);
    case 415:
      return duoveilError('CONTENT_TYPE_INVALID', 'a body must be application/json', {}, options);
    default:
      return duoveilError('INTERNAL', 'an internal error occurred', {}, options);
  }
}

function badRequest(code: unknown): string {
  return code === 'FST_ERR_BAD_URL' ? 'the path is not well-formed' : 'the body is not JSON';
}

/** What a schema found wrong. */
interface Validation {
  readonly validationContext: string;
  readonly validation: readonly { readonly instancePath: string; readonly message?: string }[];
}

function isValidation(thrown: unknown): thrown is Validation {
  return thrown instanceof Error && 'validation' in thrown && Array.isArray(thrown.validation);
}

function invalid({ validation, validationContext }: Validation): DuoveilError {
  const [issue] = validation;
  const path = (issue?.instancePath ?? '').slice(1).replaceAll('/', '.');
  const where = { params: 'path', querystring: 'query' }[validationContext] ?? validationContext;
  const field = path === '' ? where : `${where}.${path}`;
  return duoveilError('MESSAGE_INVALID', `${field}: ${issue?.message ?? 'not valid'}`, { field });
}

/** What is no HTTP at all, or not in time: there is no request to answer. */
export function refuseRaw(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const isLong = error.code === 'HPE_HEADER_OVERFLOW';
  const body = JSON.stringify({
    ...{ type: 'about:blank', title: isLate ? 'Request Timeout' : 'Bad Request' },
    status: isLate ? 408 : isLong ? 431 : 400,
    detail: isLate ? 'the request took too long to come in' : 'the request is not well-formed',
    code: 'MESSAGE_INVALID',
    requestId: '',
  });
  const status = isLate
    ? '408 Request Timeout'
    : isLong
      ? '431 Request Header Fields Too Large'
      : '400 Bad Request';
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: ${PROBLEM_TYPE}\r\n` +
      `content-length: ${String(Buffer.byteLength(body))}\r\nconnection: close\r\n\r\n${body}`,
  );
}
