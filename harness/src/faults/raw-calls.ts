/** The wire contract's calls with their messages as bytes: for whoever passes them on unread. */
import type { ClientMethod, Service } from '@duoveil/common/runtime';
import * as proto from '@duoveil/proto';

/** The calls of a service, as gRPC knows them. */
export type Definition = Service['definition'];

type AnyCall = Definition[string];

const same = (bytes: Buffer): Buffer => bytes;

/** Every service of the wire contract, its messages as bytes. */
export const RAW_SERVICES: readonly Definition[] = Object.entries(proto)
  .filter(([name]) => name.endsWith('ServiceService'))
  .map(([, definition]) => raw(definition as Definition));

function raw(definition: Definition): Definition {
  return Object.fromEntries(
    Object.entries(definition).map(([name, call]): [string, AnyCall] => [
      name,
      {
        ...call,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
    ]),
  );
}

/** Have all of a service's calls one request and one response? */
export function isUnary(definition: Definition): boolean {
  return Object.values(definition).every((call) => !call.requestStream && !call.responseStream);
}

/** The last part of a call's path: `Subtract`, `Ingest`, .. */
export function methodName(path: string): string {
  return path.split('/').at(-1) ?? '';
}

/** The client's half of a call. */
export function rawMethod<Up extends boolean, Down extends boolean>(
  path: string,
  requestStream: Up,
  responseStream: Down,
): ClientMethod<Buffer, Buffer, Up, Down> {
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: same,
    responseDeserialize: same,
  };
}
