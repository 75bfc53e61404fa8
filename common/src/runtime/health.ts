/** The standard health service, `grpc.health.v1`, behind the same authorisation as everything else. */
import type { sendUnaryData, ServiceDefinition, UntypedHandleCall } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type { ServingStatus } from 'grpc-health-check';
import { authorise } from './call-context.js';
import type { AnyServerCall, Caller } from './call-context.js';
import { decodingLater, requireDecoded } from './decoding.js';
import type { HandlerEnvironment } from './handlers.js';
import { roles } from './identity.js';
import { encodeError } from './status.js';
import type { WireStatus } from './status.js';

/** What a server says about itself. `''` is the server as a whole. */
export interface Health {
  /** Sets the status of a service, or of the server with `''`. */
  setStatus(service: string, status: ServingStatus): void;
  /** Is the server as a whole ready? */
  isServing(): boolean;
}

/** The health service for one server. Every role may call it; nobody without one may. */
export function healthService(
  serviceNames: readonly string[],
  environment: HandlerEnvironment,
): {
  readonly health: Health;
  readonly definition: ServiceDefinition;
  readonly handlers: Record<string, UntypedHandleCall>;
} {
  const statuses = Object.fromEntries(['', ...serviceNames].map((name) => [name, 'SERVING']));
  const implementation = new HealthImplementation(statuses as Record<string, ServingStatus>);
  let ofServer: ServingStatus = 'SERVING';
  const added: { definition?: ServiceDefinition; implementation?: RawHandlers } = {};
  // The implementation can only add itself to a server: this one keeps what it is given.
  const recorder = {
    addService: (definition: unknown, implementation: unknown) => {
      added.definition = definition as ServiceDefinition;
      added.implementation = implementation as RawHandlers;
    },
  };
  implementation.addToServer(recorder);
  const { definition, implementation: handlers } = added;
  if (definition === undefined || handlers === undefined) {
    throw new Error('the health implementation added no service');
  }
  return {
    health: {
      setStatus: (service, status) => {
        if (service === '') ofServer = status;
        implementation.setStatus(service, status);
      },
      isServing: () => ofServer === 'SERVING',
    },
    definition: decodingLater(definition),
    handlers: {
      check: guardUnary(handlers.check, environment),
      list: guardUnary(handlers.list, environment),
      watch: guardWatch(handlers.watch, environment),
    },
  };
}

type Callback = sendUnaryData<unknown>;
type HealthCall = AnyServerCall & { readonly request: unknown };
type StreamCall = HealthCall & {
  emit(event: 'error', status: WireStatus): boolean;
  end(): unknown;
};

interface RawHandlers {
  readonly check: (call: HealthCall, callback: Callback) => void;
  readonly list: (call: HealthCall, callback: Callback) => void;
  readonly watch: (call: StreamCall) => void;
}

/** A caller whose call has begun. */
interface Entered extends Caller {
  /** Ends it. */
  readonly leave: () => void;
}

/** The caller, or how it is refused. */
function caller(call: HealthCall, environment: HandlerEnvironment): Entered | WireStatus {
  try {
    const known = authorise(call, environment, roles);
    requireDecoded(call.request);
    return { ...known, leave: environment.peers.enter(known.identity) };
  } catch (error) {
    const requestId = Buffer.from(environment.random.bytes(8)).toString('hex');
    environment.logger.warn('call refused', { method: call.getPath(), requestId, error });
    return encodeError(error, requestId);
  }
}

function guardUnary(handle: RawHandlers['check'], environment: HandlerEnvironment) {
  return (call: HealthCall, callback: Callback): void => {
    const known = caller(call, environment);
    if (!('identity' in known)) {
      callback(known);
      return;
    }
    handle(call, callback);
    known.leave();
  };
}

function guardWatch(handle: RawHandlers['watch'], environment: HandlerEnvironment) {
  return (call: StreamCall): void => {
    const known = caller(call, environment);
    if (!('identity' in known)) {
      call.emit('error', known);
      return;
    }
    handle(call);
    // A watch has no end of its own: the server going down is its end, or it would hold that up.
    const end = (): void => {
      release();
      call.end();
    };
    const letCertificateGo = environment.peers.hold(known.certificate, end);
    const release = (): void => {
      letCertificateGo();
      known.leave();
    };
    environment.draining.addEventListener('abort', end, { once: true });
    call.on('cancelled', () => {
      release();
      environment.draining.removeEventListener('abort', end);
    });
  };
}
