/**
 * Which generation of keys a call is for: the digest of its public parameters, in the metadata of
 * every call on a connection that names one. Routing, not trust: what a call carries is checked
 * against the parameters as before.
 */
import { InterceptingCall } from '@grpc/grpc-js';
import type { Interceptor, Metadata } from '@grpc/grpc-js';
import { duoveilError } from '../errors.js';

const KEY = 'duoveil-parameters';

/** Names a generation in every call. */
export function namingGeneration(parametersDigest: string): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start: (metadata, listener, next) => {
        metadata.set(KEY, parametersDigest);
        next(metadata, listener);
      },
    });
}

/**
 * The digest that a call names: 64 hexadecimal digits; undefined where it names none.
 * @throws MESSAGE_INVALID
 */
export function namedGeneration(metadata: Metadata): string | undefined {
  const [digest, ...others] = metadata.get(KEY);
  if (digest === undefined) return undefined;
  if (typeof digest === 'string' && others.length === 0 && /^[0-9a-f]{64}$/.test(digest)) {
    return digest;
  }
  throw duoveilError(
    'MESSAGE_INVALID',
    `the metadata ${KEY} must be one digest of 64 hexadecimal digits`,
    { field: KEY },
  );
}
