/** A service called in the same process: every message encoded and decoded, nothing of a network. */
import type { Client } from '@grpc/grpc-js';
import { isDuoveilError, toDuoveilError } from '@duoveil/common/errors';
import {
  silentLogger,
  type CallContext,
  type Connection,
  type Service,
} from '@duoveil/common/runtime';

/** A call as it goes over the wire. */
export interface WireCall {
  /** The method's name in the service definition. */
  readonly method: string;
  readonly request: Buffer;
  readonly response?: Buffer;
}

/** Looks at each call before it is served (`before`) and before it is answered; throws to fail it. */
export type Interference = (moment: 'before' | 'after', call: WireCall) => void;

/** What a handler gets beside the request. */
export function contextForTests(): CallContext {
  return {
    identity: { trustDomain: 'test.internal', role: 'sp' },
    signal: new AbortController().signal,
    requestId: '0123456789abcdef',
    logger: silentLogger(),
  } as unknown as CallContext;
}

/** Call a unary method with bytes, as a peer does. */
export async function callBytes(service: Service, method: string, bytes: Buffer): Promise<Buffer> {
  const handler = service.methods[method];
  const wire = service.definition[method];
  if (handler?.kind !== 'unary' || wire === undefined) throw new Error(`no method ${method}`);
  const response = await handler.handle(wire.requestDeserialize(bytes), contextForTests());
  return wire.responseSerialize(response);
}

/** Several services, called as one: as a server has them. */
export function together(...services: readonly Service[]): Service {
  return {
    definition: Object.assign(
      {},
      ...services.map(({ definition }) => definition),
    ) as Service['definition'],
    methods: Object.assign({}, ...services.map(({ methods }) => methods)) as Service['methods'],
  };
}

/**
 * A connection to a service in this process.
 * @param service asked at each call, so that a test may replace it: that is a restart of the peer
 */
export function localConnection(
  service: () => Service,
  interfere: Interference = () => undefined,
): Connection {
  const serve = async (path: string, request: Buffer): Promise<Buffer> => {
    const { definition } = service();
    const found = Object.entries(definition).find(([, wire]) => wire.path === path);
    if (found === undefined) throw new Error(`no method ${path}`);
    const [method] = found;
    interfere('before', { method, request });
    const response = await callBytes(service(), method, request);
    interfere('after', { method, request, response });
    return response;
  };
  const client = {
    makeUnaryRequest: (
      path: string,
      serialise: (message: unknown) => Buffer,
      deserialise: (bytes: Buffer) => unknown,
      message: unknown,
      _metadata: unknown,
      _options: unknown,
      callback: (error: unknown, response?: unknown) => void,
    ) => {
      serve(path, serialise(message)).then(
        (response) => {
          callback(null, deserialise(response));
        },
        (error: unknown) => {
          callback(error);
        },
      );
      return { cancel: () => undefined };
    },
  };
  return {
    peer: 'csp at nowhere',
    client: client as unknown as Client,
    decode: (error) => (isDuoveilError(error) ? error : toDuoveilError(error)),
    address: { host: 'nowhere', port: 0 },
    peerValidTo: undefined,
    hold: () => () => undefined,
    close: () => undefined,
  };
}
