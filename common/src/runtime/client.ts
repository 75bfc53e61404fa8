/** A connection to a server, and calls on it as promises and iterables with decoded errors. */
import { Client, status as Status } from '@grpc/grpc-js';
import type { ClientDuplexStream, ClientReadableStream, ServiceError } from '@grpc/grpc-js';
import { duoveilError } from '../errors.js';
import type { DuoveilError } from '../errors.js';
import { formatAddress, parseAddress } from './address.js';
import type { Address } from './address.js';
import { abortReason } from './clock.js';
import { namingGeneration } from './generation.js';
import { observeClientCall } from './observed-call.js';
import { defaultMaxMessageBytes } from './server.js';
import { decodeError } from './status.js';
import { clientTls } from './tls.js';
import type { ClientTls, Tls } from './tls.js';
import { tlsSource } from './tls-source.js';
import type { TlsSource } from './tls-source.js';

/** A connection to one server at a time; made on the first call, and again after it broke. */
export interface Connection {
  /** The peer's role and address, as errors name it: `csp at 127.0.0.1:7001`. */
  readonly peer: string;
  readonly address: Address;
  /** For the next call: another one after the TLS material has changed, or the server does not serve. */
  readonly client: Client;
  /** When the certificate that the server has shown expires; undefined before it has. */
  readonly peerValidTo: Date | undefined;
  /**
   * A call that failed, as an error of ours. Where its server does not serve and there is another one,
   * the next call goes there.
   * @param client that the call was made with
   */
  decode(error: ServiceError, client: Client): DuoveilError;
  /**
   * Ends a call where its server's certificate is revoked.
   * @returns how to end that
   */
  hold(call: { cancel(): void }): () => void;
  /** Ends the connection; calls in progress fail. */
  close(): void;
}

/** Where to connect to, and as whom. */
export interface ConnectOptions {
  /**
   * `host:port`; the server's certificate must name this host. Of several, servers that stand in for
   * each other, one is used for as long as it serves, then the next.
   */
  readonly address: string | readonly string[];
  /** Where it changes, the next call is made on a new connection. */
  readonly tls: Tls | TlsSource;
  /** The role that the server's certificate must hold. */
  readonly expectRole: 'csp' | 'sp';
  /** Limit on one message, either way; 4 MiB by default. */
  readonly maxMessageBytes?: number;
  /** The generation of keys that every call is for; none unless given. */
  readonly parametersDigest?: string;
}

/**
 * Prepares a connection; nothing is sent yet.
 * @throws CONFIG_INVALID
 */
export function connect(options: ConnectOptions): Connection {
  return new TlsConnection(options);
}

/** To one of the servers. */
interface Live {
  readonly address: Address;
  readonly peer: string;
  readonly tls: ClientTls;
  readonly client: Client;
}

class TlsConnection implements Connection {
  readonly #options: ConnectOptions;
  readonly #addresses: readonly Address[];
  readonly #source: TlsSource;
  readonly #calls = new Set<{ cancel(): void }>();
  readonly #unsubscribe: () => void;
  /** By whose failure which server is meant. */
  readonly #dialled = new WeakMap<Client, Live>();
  #live: Live;

  constructor(options: ConnectOptions) {
    const { address, expectRole } = options;
    this.#options = options;
    const first = typeof address === 'string' ? address : (address[0] ?? '');
    const others = typeof address === 'string' ? [] : address.slice(1);
    const parse = (text: string): Address => parseAddress(text, `${expectRole}.address`);
    const primary = parse(first);
    this.#addresses = [primary, ...others.map(parse)];
    this.#source = tlsSource(options.tls);
    this.#live = this.#dial(primary);
    this.#unsubscribe = this.#source.subscribe(() => {
      this.#redial();
    });
  }

  get peer(): string {
    return this.#live.peer;
  }

  get address(): Address {
    return this.#live.address;
  }

  get client(): Client {
    return this.#live.client;
  }

  get peerValidTo(): Date | undefined {
    return this.#live.tls.peerValidTo();
  }

  decode(error: ServiceError, client: Client): DuoveilError {
    const live = this.#dialled.get(client) ?? this.#live;
    const decoded = decodeError(error, live.peer, live.tls.refusal());
    // Whoever was not the first to notice finds that it was done.
    if (live === this.#live && isAbsence(decoded)) this.#moveOn();
    return decoded;
  }

  hold(call: { cancel(): void }): () => void {
    this.#calls.add(call);
    return () => {
      this.#calls.delete(call);
    };
  }

  close(): void {
    this.#unsubscribe();
    this.#live.client.close();
  }

  #dial(address: Address): Live {
    const { expectRole } = this.#options;
    const target = formatAddress(address);
    const tls = clientTls(this.#source.current, address.host, expectRole);
    const client = clientOf(target, tls, this.#options);
    const live = { address, peer: `${expectRole} at ${target}`, tls, client };
    this.#dialled.set(client, live);
    return live;
  }

  /** Calls in progress finish on the old connection, unless its server is not believed any more. */
  #redial(): void {
    const { address, tls, client } = this.#live;
    this.#live = this.#dial(address);
    client.close();
    const serial = tls.peerSerial();
    if (serial === undefined || !this.#source.current.revoked.has(serial)) return;
    for (const call of [...this.#calls]) call.cancel();
  }

  /** To the next address, where there is one. Calls in progress finish on the old connection. */
  #moveOn(): void {
    if (this.#addresses.length < 2) return;
    const { address, client } = this.#live;
    const next = (this.#addresses.indexOf(address) + 1) % this.#addresses.length;
    this.#live = this.#dial(this.#addresses[next] ?? address);
    client.close();
  }
}

/** Does this say that the server does not serve, or cannot be reached? Another one may. */
function isAbsence({ code }: DuoveilError): boolean {
  return ['PEER_UNAVAILABLE', 'DEADLINE_EXCEEDED', 'NOT_READY', 'CSP_SEALED'].includes(code);
}

function clientOf(address: string, tls: ClientTls, options: ConnectOptions): Client {
  const { maxMessageBytes: limit = defaultMaxMessageBytes, parametersDigest } = options;
  return new Client(`dns:${address}`, tls.credentials, {
    ...tls.options,
    interceptors: parametersDigest === undefined ? [] : [namingGeneration(parametersDigest)],
    // A masked request must never be sent again underneath the protocol: two runs of a step under
    // one mask could be compared. Whoever retries redoes the whole step with fresh masks.
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_channelz': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': limit,
    'grpc.max_send_message_length': limit,
    // A peer that is gone without a word, or stalled, is noticed after ten seconds.
    'grpc.keepalive_time_ms': 5_000,
    'grpc.keepalive_timeout_ms': 5_000,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 5_000,
  });
}

/** The client's half of a method in a generated service definition. */
export interface ClientMethod<Request, Response, RequestStream, ResponseStream> {
  readonly path: string;
  readonly requestStream: RequestStream;
  readonly responseStream: ResponseStream;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

/**
 * One request, one response.
 * @param method for example `ParametersServiceService.getParameters`
 * @param options.deadlineMs how long to wait for the response, in milliseconds from now
 * @throws the server's error; PEER_UNAVAILABLE, DEADLINE_EXCEEDED, MESSAGE_TOO_LARGE,
 * PEER_MISBEHAVED; the signal's reason once that is aborted
 */
export function callUnary<Request, Response>(
  connection: Connection,
  method: ClientMethod<Request, Response, false, false>,
  request: Request,
  options: { readonly deadlineMs: number; readonly signal?: AbortSignal },
): Promise<Response> {
  const { deadlineMs, signal } = options;
  if (signal?.aborted === true) return Promise.reject(abortReason(signal));
  const { client } = connection;
  const observed = observeClientCall(method.path, connection.address);
  return new Promise((resolve, reject) => {
    const cancel = (): void => {
      call.cancel();
    };
    const call = client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      observed.metadata,
      { deadline: Date.now() + deadlineMs },
      (error, response) => {
        observed.end(error?.code ?? Status.OK);
        release();
        signal?.removeEventListener('abort', cancel);
        if (signal?.aborted === true) reject(abortReason(signal));
        else if (error !== null) reject(connection.decode(error, client));
        else if (response === undefined) reject(noResponse(connection));
        else resolve(response);
      },
    );
    const release = connection.hold(call);
    signal?.addEventListener('abort', cancel, { once: true });
  });
}

function noResponse({ peer }: Connection): DuoveilError {
  return duoveilError('PEER_MISBEHAVED', `${peer} sent no response`, { peer });
}

/**
 * One request, a stream of responses. The call is made when iteration begins and is cancelled when
 * it is left early. The server is slowed down to the pace of the iteration.
 * @throws as {@link callUnary}, from the iteration; a stream has no deadline
 */
export async function* callServerStream<Request, Response>(
  connection: Connection,
  method: ClientMethod<Request, Response, false, true>,
  request: Request,
  options: { readonly signal?: AbortSignal } = {},
): AsyncGenerator<Response, void> {
  const { signal } = options;
  if (signal?.aborted === true) throw abortReason(signal);
  const { client } = connection;
  const observed = observeClientCall(method.path, connection.address);
  const call = client.makeServerStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    request,
    observed.metadata,
  );
  call.on('status', ({ code }) => {
    observed.end(code);
  });
  yield* responsesOf(connection, client, call, signal);
}

/** A call with streams both ways. */
export interface BidiCall<Request, Response> {
  /** Sends one message; resolves when there is room for the next. Rejects once the call has failed. */
  send(request: Request): Promise<void>;
  /** Says that no more requests follow. */
  end(): void;
  /** Read it once. It ends with the call, throws the call's error, and cancels when left early. */
  readonly responses: AsyncGenerator<Response, void>;
  /** Ends the call at once. */
  cancel(): void;
}

/**
 * Streams both ways.
 * @throws as {@link callUnary}, from `responses` and `send`; a stream has no deadline
 */
export function callBidi<Request, Response>(
  connection: Connection,
  method: ClientMethod<Request, Response, true, true>,
  options: { readonly signal?: AbortSignal } = {},
): BidiCall<Request, Response> {
  const { signal } = options;
  if (signal?.aborted === true) throw abortReason(signal);
  const { client } = connection;
  const observed = observeClientCall(method.path, connection.address);
  const call = client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    observed.metadata,
  );
  let failure: Error | undefined;
  let finished = false;
  // Beside `responses`: whoever only sends must learn of a failure too, and an error that nobody
  // listens for would end the process.
  call.on('error', (error: Error) => {
    // Only the first counts: the stream's own clean-up may follow with errors of its own.
    failure ??= failureOf(connection, client, error, signal);
  });
  call.on('status', ({ code }) => {
    observed.end(code);
    finished = true;
  });
  const send = (request: Request): Promise<void> =>
    new Promise((resolve, reject) => {
      const settle = (): void => {
        call.off('drain', settle).off('status', settle).off('error', settle);
        if (failure !== undefined) reject(failure);
        else if (finished) reject(endedEarly(connection));
        else resolve();
      };
      if (failure !== undefined || finished || call.write(request)) {
        settle();
        return;
      }
      call.once('drain', settle).once('status', settle).once('error', settle);
    });
  return {
    send,
    end: () => {
      call.end();
    },
    responses: (async function* () {
      yield* responsesOf(connection, client, call, signal);
      // Who begins to read when the call has failed already sees no more than its end.
      if (failure !== undefined) throw failure;
    })(),
    cancel: () => {
      call.cancel();
    },
  };
}

function endedEarly({ peer }: Connection): DuoveilError {
  return duoveilError('PEER_MISBEHAVED', `${peer} ended the stream before the last message`, {
    peer,
  });
}

async function* responsesOf<Response>(
  connection: Connection,
  client: Client,
  call: ClientReadableStream<Response> | ClientDuplexStream<never, Response>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Response, void> {
  const cancel = (): void => {
    call.cancel();
  };
  const release = connection.hold(call);
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    for await (const response of call as AsyncIterable<Response>) yield response;
  } catch (error) {
    throw failureOf(connection, client, error, signal);
  } finally {
    release();
    signal?.removeEventListener('abort', cancel);
    call.cancel();
  }
}

function failureOf(
  connection: Connection,
  client: Client,
  error: unknown,
  signal: AbortSignal | undefined,
): Error {
  if (signal?.aborted === true) return abortReason(signal);
  if (isServiceError(error)) return connection.decode(error, client);
  const { peer } = connection;
  return duoveilError(
    'PEER_UNAVAILABLE',
    `the stream to the ${peer} broke`,
    { peer },
    { cause: error },
  );
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error;
}
