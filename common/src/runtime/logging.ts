/**
 * Structured logs: one JSON object a line on standard error. Whatever is not plainly harmless is
 * replaced by `[omitted]`: integers of the cryptosystem, bytes, secrets and objects of any class. A
 * caller who wants a 64-bit sequence number in the log writes it as a string.
 */
import type { Writable } from 'node:stream';
import winston from 'winston';
import { duoveilError, isDuoveilError } from '../errors.js';
import { traceFields } from './tracing.js';

/** How much is logged; each level includes those before it. */
export const logLevels = ['error', 'warn', 'info', 'debug'] as const;

/** One of `logLevels`. */
export type LogLevel = (typeof logLevels)[number];

/** Named values that go with a message. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where a component writes its logs. */
export interface Logger {
  /** May be changed at any time; a child's is its parent's. */
  level: LogLevel;
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** A logger whose lines carry these fields too. */
  child(fields: LogFields): Logger;
}

const omitted = '[omitted]';
const maximumDepth = 6;
// Longer than a SHA-256 digest in hexadecimal: a ciphertext, a key or a field element as text.
const longNumber = /[0-9a-fA-F]{65,}/g;

/** A value as it may stand in a log. */
export function loggable(value: unknown, depth = 0): unknown {
  switch (typeof value) {
    case 'string':
      return value.replace(longNumber, omitted);
    case 'number':
    case 'boolean':
    case 'undefined':
      return value;
    case 'object':
      break;
    default:
      return omitted;
  }
  if (value === null) return null;
  if (depth >= maximumDepth) return omitted;
  if (value instanceof Error) return loggableError(value, depth);
  if (Array.isArray(value)) return value.map((item) => loggable(item, depth + 1));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return omitted;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, loggable(item, depth + 1)]),
  );
}

/**
 * An error with its causes. Messages of foreign errors stay: they are what a defect is found by.
 * @param isExplained does it cause an error whose code says what has happened?
 */
function loggableError(error: Error, depth: number, isExplained = false): unknown {
  const known = isDuoveilError(error);
  const { cause } = error;
  const hasCode = isExplained || (known && error.code !== 'INTERNAL');
  return {
    name: error.name,
    ...(known && { code: error.code, details: loggable(error.details, depth + 1) }),
    message: loggable(error.message),
    // Our own errors say where they come from by their code, except for a defect.
    ...(!hasCode && { stack: loggable(error.stack) }),
    ...(cause !== undefined && { cause: loggableCause(cause, depth + 1, hasCode) }),
  };
}

function loggableCause(cause: unknown, depth: number, isExplained: boolean): unknown {
  const isDeep = depth >= maximumDepth;
  return cause instanceof Error && !isDeep
    ? loggableError(cause, depth, isExplained)
    : loggable(cause, depth);
}

const sanitise = winston.format((info) => {
  // The level and message symbols are not enumerable to Object.entries and stay as they are.
  for (const [key, value] of Object.entries(info)) info[key] = loggable(value);
  return info;
});

/**
 * A logger.
 * @param options.service the component's name, in every line
 * @param options.level `info` by default
 * @param options.stream where lines go; standard error by default
 */
export function createLogger(options: {
  readonly service: string;
  readonly level?: LogLevel;
  readonly stream?: Writable;
}): Logger {
  const backend = winston.createLogger({
    level: options.level ?? 'info',
    levels: Object.fromEntries(logLevels.map((level, rank) => [level, rank])),
    format: winston.format.combine(
      sanitise(),
      winston.format.timestamp(),
      winston.format.json({ deterministic: false }),
    ),
    // The library's types declare this class as an interface with a constructor signature.
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment
    transports: [new winston.transports.Stream({ stream: options.stream ?? process.stderr })],
  });
  return new BackedLogger(backend, { service: options.service });
}

/**
 * Changes how much is logged, by the whole process, from now on.
 * @returns the level before
 * @throws MESSAGE_INVALID where there is no such level
 */
export function changeLogLevel(logger: Logger, level: string): LogLevel {
  const wanted = logLevels.find((known) => known === level);
  if (wanted === undefined) {
    throw duoveilError('MESSAGE_INVALID', `level must be one of ${logLevels.join(', ')}`, {
      field: 'level',
    });
  }
  const before = logger.level;
  // Before the change: a log that falls silent says why.
  logger.warn('log level changed', { from: before, to: wanted });
  logger.level = wanted;
  return before;
}

/** A logger that writes nothing: for tests. */
export function silentLogger(): Logger {
  return new BackedLogger(winston.createLogger({ silent: true }), {});
}

class BackedLogger implements Logger {
  readonly #backend: winston.Logger;
  readonly #bound: LogFields;

  constructor(backend: winston.Logger, bound: LogFields) {
    this.#backend = backend;
    this.#bound = bound;
  }

  get level(): LogLevel {
    return this.#backend.level as LogLevel;
  }

  set level(level: LogLevel) {
    this.#backend.level = level;
  }

  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#write('warn', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#write('info', message, fields);
  }

  debug(message: string, fields?: LogFields): void {
    this.#write('debug', message, fields);
  }

  child(fields: LogFields): Logger {
    return new BackedLogger(this.#backend, { ...this.#bound, ...fields });
  }

  #write(level: LogLevel, message: string, fields: LogFields | undefined): void {
    // The backend formats a line before it looks at the level.
    if (!this.#backend.isLevelEnabled(level)) return;
    this.#backend.log({ ...this.#bound, ...traceFields(), ...fields, level, message });
  }
}
