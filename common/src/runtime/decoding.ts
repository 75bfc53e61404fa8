/** Requests that are no messages: refused like any other bad request, and not by the library below. */
import type { ServiceDefinition } from '@grpc/grpc-js';
import { duoveilError } from '../errors.js';

/** Stands in the place of a request that could not be decoded. */
const undecodable = Symbol('undecodable');

/** The same service, with requests decoded so that {@link requireDecoded} says what was wrong. */
export function decodingLater(definition: ServiceDefinition): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(definition).map(([name, call]) => [
      name,
      { ...call, requestDeserialize: (bytes: Buffer) => decoded(call.requestDeserialize, bytes) },
    ]),
  );
}

function decoded(decode: (bytes: Buffer) => unknown, bytes: Buffer): unknown {
  try {
    return decode(bytes);
  } catch {
    // What the decoder has to say is about its own insides.
    return undecodable;
  }
}

/** @throws MESSAGE_INVALID where the request could not be decoded */
export function requireDecoded(request: unknown): unknown {
  if (request !== undecodable) return request;
  throw duoveilError('MESSAGE_INVALID', 'the request is not the message that this call takes', {
    field: 'message',
  });
}
