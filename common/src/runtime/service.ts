/**
 * How a party states what it serves: each method with its handler and the roles that may call it.
 * The types follow from the generated service definition.
 */
import type { ServiceDefinition } from '@grpc/grpc-js';
import type { CallContext } from './call-context.js';
import type { Role } from './identity.js';

/** Who may call a method. */
export interface MethodOptions {
  /** At least one. */
  readonly roles: readonly Role[];
}

/** Who may call a method, and for how long it may run. */
export interface UnaryOptions extends MethodOptions {
  /** The server's own bound, in milliseconds; the server's default if it is left out. */
  readonly timeoutMs?: number;
}

/** One request, one response. */
export interface UnaryMethod<Request, Response> {
  readonly kind: 'unary';
  readonly options: UnaryOptions;
  readonly handle: (request: Request, context: CallContext) => Promise<Response>;
}

/** One request, a stream of responses. */
export interface ServerStreamMethod<Request, Response> {
  readonly kind: 'serverStream';
  readonly options: MethodOptions;
  readonly handle: (request: Request, context: CallContext) => AsyncGenerator<Response, void>;
}

/** A stream of requests, a stream of responses. */
export interface BidiMethod<Request, Response> {
  readonly kind: 'bidi';
  readonly options: MethodOptions;
  readonly handle: BidiHandler<Request, Response>;
}

/**
 * Handles a call of streams both ways. The call ends when the promise settles.
 * @param requests read at the handler's own pace: gRPC slows the sender down; throws the signal's
 * reason once that is aborted
 * @param send resolves when there is room for more; rejects with the signal's reason
 */
export type BidiHandler<Request, Response> = (
  requests: AsyncIterable<Request>,
  send: (response: Response) => Promise<void>,
  context: CallContext,
) => Promise<void>;

/** A method with one request and one response. */
export function unary<Request, Response>(
  options: UnaryOptions,
  handle: (request: Request, context: CallContext) => Promise<Response>,
): UnaryMethod<Request, Response> {
  return { kind: 'unary', options, handle };
}

/**
 * A method with one request and a stream of responses. The generator is asked for the next response
 * only when there is room; when the call ends early, its `return` is called, and `context.signal`
 * is aborted so that it need not wait for what it was waiting for.
 */
export function serverStream<Request, Response>(
  options: MethodOptions,
  handle: (request: Request, context: CallContext) => AsyncGenerator<Response, void>,
): ServerStreamMethod<Request, Response> {
  return { kind: 'serverStream', options, handle };
}

/** A method with streams both ways. */
export function bidi<Request, Response>(
  options: MethodOptions,
  handle: BidiHandler<Request, Response>,
): BidiMethod<Request, Response> {
  return { kind: 'bidi', options, handle };
}

interface WireMethod<Request, Response, RequestStream, ResponseStream> {
  readonly requestStream: RequestStream;
  readonly responseStream: ResponseStream;
  readonly requestDeserialize: (bytes: Buffer) => Request;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

/** What implements one method of a generated definition. */
export type MethodFor<M> =
  M extends WireMethod<infer Request, infer Response, false, false>
    ? UnaryMethod<Request, Response>
    : M extends WireMethod<infer Request, infer Response, false, true>
      ? ServerStreamMethod<Request, Response>
      : M extends WireMethod<infer Request, infer Response, true, true>
        ? BidiMethod<Request, Response>
        : never;

/** A method of any kind, its types forgotten. */
export type AnyMethod =
  | UnaryMethod<unknown, unknown>
  | ServerStreamMethod<unknown, unknown>
  | BidiMethod<unknown, unknown>;

/** A service, ready to be served. */
export interface Service {
  readonly definition: ServiceDefinition;
  readonly methods: Readonly<Record<string, AnyMethod>>;
}

/**
 * A service: its generated definition, and a method for each of its calls.
 *
 * ```ts
 * implement(ParametersServiceService, {
 *   getParameters: unary({ roles: ['sp'] }, async () => ({ parameters })),
 * });
 * ```
 */
export function implement<D extends ServiceDefinition>(
  definition: D,
  methods: { readonly [K in keyof D]: MethodFor<D[K]> },
): Service {
  // gRPC pairs each method with the serialisers of the same definition: the types hold by that.
  return { definition, methods };
}
