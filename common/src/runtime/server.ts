/** A party's server: gRPC over mutual TLS, with health, limits, and an orderly end. */
import { setMaxListeners } from 'node:events';
import { logVerbosity, Server, setLogVerbosity } from '@grpc/grpc-js';
import type { ServerCredentials, ServiceDefinition, UntypedHandleCall } from '@grpc/grpc-js';
import { duoveilError } from '../errors.js';
import { systemRandom } from '../random.js';
import type { RandomSource } from '../random.js';
import { formatAddress, parseAddress } from './address.js';
import { systemClock } from './clock.js';
import type { Clock } from './clock.js';
import { decodingLater } from './decoding.js';
import { adapt } from './handlers.js';
import type { HandlerEnvironment } from './handlers.js';
import { healthService } from './health.js';
import type { Health } from './health.js';
import type { Logger } from './logging.js';
import type { Service } from './service.js';
import { Peers } from './peers.js';
import { serverCredentials } from './tls.js';
import type { Tls } from './tls.js';
import { tlsSource } from './tls-source.js';
import type { TlsSource } from './tls-source.js';

/** What a server needs. */
export interface ServerOptions {
  /** `host:port`; port 0 lets the system choose. */
  readonly listen: string;
  /** Followed where it changes, but for the identity. */
  readonly tls: Tls | TlsSource;
  readonly services: readonly Service[];
  readonly logger: Logger;
  /** Limit on one message, either way, in bytes; 4 MiB by default. */
  readonly maxMessageBytes?: number;
  /** Limit on the calls in progress on one connection; 128 by default. */
  readonly maxConcurrentCalls?: number;
  /** Bound on a unary call whose method states none, in milliseconds; 30 s by default. */
  readonly unaryTimeoutMs?: number;
  readonly clock?: Clock;
  readonly random?: RandomSource;
}

/** A server that listens. */
export interface RunningServer {
  /** The port it listens on. */
  readonly port: number;
  /** `host:port` with that port, the host as in `listen`. */
  readonly address: string;
  readonly health: Health;
  /**
   * Takes no new calls, ends streams with `NOT_READY`, lets unary calls finish for at most
   * `graceMs` milliseconds and ends the rest. Resolves when every connection is closed, or was told
   * to and has not said so for a second; may be called again, for the same result.
   */
  drain(graceMs: number): Promise<void>;
}

/** The default limit on one message, in bytes. */
export const defaultMaxMessageBytes = 4 * 1024 * 1024;

// The library writes to standard error in a form of its own, which is no line of our log. What it
// has to say comes back as errors. GRPC_VERBOSITY in the environment brings it back.
if (process.env['GRPC_VERBOSITY'] === undefined) setLogVerbosity(logVerbosity.NONE);

/** How often calls in progress are looked at for certificates that have expired, in milliseconds. */
const sweepMs = 10_000;
/** How long connections may take that are ended, in milliseconds. */
const endingMs = 1_000;
const keepaliveTimeMs = 30_000;
const keepaliveTimeoutMs = 10_000;

/**
 * Starts a server.
 * @throws CONFIG_INVALID where it cannot listen
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const maxMessageBytes = options.maxMessageBytes ?? defaultMaxMessageBytes;
  const draining = new AbortController();
  const stopped = new AbortController();
  // Every call in progress listens, and there may be any number of them.
  setMaxListeners(0, draining.signal, stopped.signal);
  const tls = tlsSource(options.tls);
  const clock = options.clock ?? systemClock;
  const peers = new Peers(() => tls.current.revoked, clock);
  const environment: HandlerEnvironment = {
    trustDomain: tls.current.identity.trustDomain,
    peers,
    logger: options.logger,
    clock,
    random: options.random ?? systemRandom,
    unaryTimeoutMs: options.unaryTimeoutMs ?? 30_000,
    draining: draining.signal,
    stopped: stopped.signal,
  };
  const server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc.max_concurrent_streams': options.maxConcurrentCalls ?? 128,
    'grpc.keepalive_time_ms': keepaliveTimeMs,
    'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
    'grpc.enable_channelz': 0,
  });
  for (const { definition, methods } of options.services) {
    const handlers: Record<string, UntypedHandleCall> = {};
    for (const [name, method] of Object.entries(methods)) {
      handlers[name] = adapt(method, environment);
    }
    server.addService(decodingLater(definition), handlers);
  }
  const names = options.services.map(({ definition }) => serviceName(definition));
  const { health, definition, handlers } = healthService(names, environment);
  server.addService(definition, handlers);

  const { host, port: wanted } = parseAddress(options.listen, 'listen');
  const listen = formatAddress({ host, port: wanted });
  const port = await bind(server, listen, serverCredentials(tls));
  const sweep = (): void => {
    peers.sweep();
  };
  const unsubscribe = tls.subscribe(sweep);
  const sweeping = setInterval(sweep, sweepMs).unref();
  const address = formatAddress({ host, port });
  options.logger.info('listening', { address });

  let drained: Promise<void> | undefined;
  const drain = async (graceMs: number): Promise<void> => {
    options.logger.info('going down', { graceMs });
    for (const name of ['', ...names]) health.setStatus(name, 'NOT_SERVING');
    draining.abort(duoveilError('NOT_READY', 'the server is going down; try again'));
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      server.tryShutdown(() => {
        resolve();
      });
      timer = setTimeout(() => {
        options.logger.warn('calls were still in progress and are ended');
        stopped.abort(duoveilError('NOT_READY', 'the server is going down; try again'));
        // Answers that say so go out first.
        setImmediate(() => {
          server.forceShutdown();
        });
        // The library is not told of a connection that broke as it was closed, and would wait for
        // ever; so it would for a peer that does not close its end.
        timer = setTimeout(resolve, endingMs);
      }, graceMs);
    });
    clearTimeout(timer);
    clearInterval(sweeping);
    unsubscribe();
    options.logger.info('stopped');
  };
  return {
    port,
    address,
    health,
    drain: (graceMs) => (drained ??= drain(graceMs)),
  };
}

/** The name of a service in the paths of its methods. */
function serviceName(definition: ServiceDefinition): string {
  const [method] = Object.values(definition);
  return method?.path.split('/')[1] ?? '';
}

function bind(server: Server, listen: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, credentials, (error, port) => {
      if (error === null) {
        resolve(port);
        return;
      }
      const why = error.message.includes('EADDRINUSE') ? 'the port is in use' : 'not possible here';
      reject(
        duoveilError(
          'CONFIG_INVALID',
          `cannot listen on ${listen}: ${why}`,
          { path: 'listen' },
          { cause: error },
        ),
      );
    });
  });
}
