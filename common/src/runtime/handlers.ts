/** From our methods to gRPC's handlers: authorisation, time bounds, cancellation, errors, logs. */
import { once } from 'node:events';
import { status as Status } from '@grpc/grpc-js';
import type {
  sendUnaryData,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedHandleCall,
} from '@grpc/grpc-js';
import { duoveilError, toDuoveilError } from '../errors.js';
import type { DuoveilError } from '../errors.js';
import type { RandomSource } from '../random.js';
import { linkedAbort } from './abort.js';
import { authorise } from './call-context.js';
import type { AnyServerCall, CallContext } from './call-context.js';
import { abortReason } from './clock.js';
import type { Clock } from './clock.js';
import { namedGeneration } from './generation.js';
import { requireDecoded } from './decoding.js';
import { formatIdentity } from './identity.js';
import type { Role } from './identity.js';
import type { Logger, LogLevel } from './logging.js';
import { observeServerCall } from './observed-call.js';
import type { Peers } from './peers.js';
import type { AnyMethod, BidiMethod, ServerStreamMethod, UnaryMethod } from './service.js';
import { encodeError } from './status.js';
import type { WireStatus } from './status.js';

/** What the handlers of one server share. */
export interface HandlerEnvironment {
  readonly trustDomain: string;
  /** Whose certificates are still believed. */
  readonly peers: Peers;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: RandomSource;
  /** Bound on a unary call that states none, in milliseconds. */
  readonly unaryTimeoutMs: number;
  /** Aborted when the server begins to go down: streams end then. */
  readonly draining: AbortSignal;
  /** Aborted when the server's grace is over: every call ends then. */
  readonly stopped: AbortSignal;
}

/** One call in progress. */
interface Call {
  readonly context: CallContext;
  /** Ends the call's signal with this reason. */
  abort(reason: Error): void;
  /** Logs the outcome and lets go of everything. Returns what to send for a failure. */
  finish(): void;
  fail(thrown: unknown): WireStatus;
}

/** The gRPC handler for a method. */
export function adapt(method: AnyMethod, environment: HandlerEnvironment): UntypedHandleCall {
  switch (method.kind) {
    case 'unary':
      return adaptUnary(method, environment);
    case 'serverStream':
      return adaptServerStream(method, environment);
    case 'bidi':
      return adaptBidi(method, environment);
  }
}

function adaptUnary(method: UnaryMethod<unknown, unknown>, environment: HandlerEnvironment) {
  const timeoutMs = method.options.timeoutMs ?? environment.unaryTimeoutMs;
  return (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>): void => {
    void run(call, method.options.roles, environment, [environment.stopped], {
      serve: async (begun) => {
        const timer = setTimeout(() => {
          begun.abort(
            duoveilError('DEADLINE_EXCEEDED', `the call took more than ${timeoutMs} ms`, {
              peer: 'server',
            }),
          );
        }, timeoutMs);
        try {
          const { context } = begun;
          const request = requireDecoded(call.request);
          const response = await whileLive(method.handle(request, context), context.signal);
          callback(null, response);
        } finally {
          clearTimeout(timer);
        }
      },
      refuse: (status) => {
        callback(status);
      },
    });
  };
}

function adaptServerStream(
  method: ServerStreamMethod<unknown, unknown>,
  environment: HandlerEnvironment,
) {
  return (call: ServerWritableStream<unknown, unknown>): void => {
    void run(call, method.options.roles, environment, streamSignals(environment), {
      serve: async ({ context }) => {
        const responses = method.handle(requireDecoded(call.request), context);
        try {
          for (;;) {
            const next = await whileLive(responses.next(), context.signal);
            if (next.done === true) break;
            await writeTo(call, next.value, context.signal);
          }
        } finally {
          // Not awaited: a generator that waits for something else must not keep the call open.
          responses.return().catch((error: unknown) => {
            context.logger.warn('a stream failed while it was closed', { error });
          });
        }
        call.end();
      },
      refuse: (status) => {
        call.emit('error', status);
      },
    });
  };
}

function adaptBidi(method: BidiMethod<unknown, unknown>, environment: HandlerEnvironment) {
  return (call: ServerDuplexStream<unknown, unknown>): void => {
    void run(call, method.options.roles, environment, streamSignals(environment), {
      serve: async ({ context }) => {
        const send = (response: unknown): Promise<void> => writeTo(call, response, context.signal);
        const requests = readFrom(call, context.signal);
        await whileLive(method.handle(requests, send, context), context.signal);
        call.end();
      },
      refuse: (status) => {
        call.emit('error', status);
      },
    });
  };
}

function streamSignals(environment: HandlerEnvironment): AbortSignal[] {
  return [environment.draining, environment.stopped];
}

/** What the three kinds of call have in common. Never rejects. */
async function run(
  call: AnyServerCall,
  roles: readonly Role[],
  environment: HandlerEnvironment,
  endsWith: readonly AbortSignal[],
  how: {
    serve: (begun: Call) => Promise<void>;
    refuse: (status: WireStatus) => void;
  },
): Promise<void> {
  const requestId = Buffer.from(environment.random.bytes(8)).toString('hex');
  const observed = observeServerCall(call.getPath(), call.metadata);
  const refuse = (status: WireStatus): void => {
    observed.end(status.code);
    how.refuse(status);
  };
  await observed.within(async () => {
    const logger = environment.logger.child({ method: call.getPath(), requestId });
    let begun: Call;
    try {
      begun = begin(call, roles, environment, endsWith, requestId, logger);
    } catch (error) {
      logger[levelOf(toDuoveilError(error))]('call refused', { error });
      refuse(encodeError(error, requestId));
      return;
    }
    try {
      await how.serve(begun);
      observed.end(Status.OK);
      begun.finish();
    } catch (error) {
      refuse(begun.fail(error));
    }
  });
}

function begin(
  call: AnyServerCall,
  roles: readonly Role[],
  environment: HandlerEnvironment,
  endsWith: readonly AbortSignal[],
  requestId: string,
  parentLogger: Logger,
): Call {
  const { identity, certificate } = authorise(call, environment, roles);
  const parametersDigest = namedGeneration(call.metadata);
  const leave = environment.peers.enter(identity);
  const life = linkedAbort(...endsWith);
  const logger = parentLogger.child({
    caller: formatIdentity(identity),
    // A pseudonym by itself: see docs/identities.md.
    ...(identity.role === 'gateway' && { patient: identity.patient }),
  });
  const startMs = environment.clock.monotonicMs();
  let cancelled = false;
  const cancel = (): void => {
    cancelled = true;
    life.abort(new DOMException('the caller has gone', 'AbortError'));
  };
  call.on('cancelled', cancel);
  if (call.cancelled) cancel();
  const letCertificateGo = environment.peers.hold(certificate, (reason) => {
    life.abort(reason);
  });
  const durationMs = (): number => environment.clock.monotonicMs() - startMs;
  const letGo = (): void => {
    life.release();
    letCertificateGo();
    leave();
  };
  return {
    context: { identity, signal: life.signal, requestId, parametersDigest, logger },
    abort: (reason) => {
      life.abort(reason);
    },
    finish: () => {
      letGo();
      logger.debug('call finished', { durationMs: durationMs() });
    },
    fail: (thrown) => {
      letGo();
      // Also when the handler failed by itself: whatever it left running has nobody to work for.
      const error = toDuoveilError(thrown);
      life.abort(error);
      if (cancelled) logger.debug('call cancelled', { durationMs: durationMs() });
      else logger[levelOf(error)]('call failed', { error, durationMs: durationMs() });
      return encodeError(error, requestId);
    },
  };
}

/** Defects and a failing store wake somebody up; a peer's mistakes do not. */
function levelOf(error: DuoveilError): LogLevel {
  switch (error.code) {
    case 'INTERNAL':
    case 'STORAGE_FAILED':
    case 'STORAGE_FULL':
    case 'STORAGE_UNAVAILABLE':
      return 'error';
    case 'PEER_UNAVAILABLE':
    case 'PEER_MISBEHAVED':
    case 'DEADLINE_EXCEEDED':
    case 'UNAUTHENTICATED':
    case 'PERMISSION_DENIED':
      return 'warn';
    default:
      return 'info';
  }
}

/** A promise's outcome, or the signal's reason as soon as that is aborted. */
function whileLive<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      reject(abortReason(signal));
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    void promise.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', stop);
    });
  });
}

/** For a second look at a signal: the compiler takes the first one to hold for good. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Writes one message and waits until there is room for the next. */
async function writeTo(
  call: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
  message: unknown,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) throw abortReason(signal);
  if (call.write(message)) return;
  try {
    await once(call, 'drain', { signal });
  } catch (error) {
    throw isAborted(signal) ? abortReason(signal) : error;
  }
}

/**
 * The messages of a stream, read one at a time. Unlike a stream's own iterator it does not destroy
 * the stream when the reader stops early, so that a status can still be sent.
 */
async function* readFrom(
  call: ServerDuplexStream<unknown, unknown>,
  signal: AbortSignal,
): AsyncGenerator<unknown, void> {
  const state = { ended: false };
  let wake = (): void => undefined;
  call.on('readable', () => {
    wake();
  });
  call.on('end', () => {
    state.ended = true;
    wake();
  });
  const onAbort = (): void => {
    wake();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for (;;) {
      if (isAborted(signal)) throw abortReason(signal);
      const message: unknown = call.read();
      if (message !== null) {
        yield requireDecoded(message);
      } else if (state.ended) {
        // A caller that cancels looks like one that has finished until its stream is destroyed,
        // which Node does up to two rounds of the event loop later.
        await new Promise(setImmediate);
        await new Promise(setImmediate);
        if (isAborted(signal)) throw abortReason(signal);
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
