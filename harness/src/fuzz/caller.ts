/** Sends bytes as they are over a real connection, and waits for what becomes of them. */
import { Metadata, status as Status, type ServiceError } from '@grpc/grpc-js';
import type { Connection } from '@duoveil/common/runtime';

import type { Call } from './schema.js';
import type { Answer } from './verdict.js';

/** No answer may take longer, in milliseconds: the server's own bound is 30 s. */
const DEADLINE_MS = 40_000;

/** A stream that has nothing to say for so long, in milliseconds, was accepted. */
const QUIET_MS = 100;

const same = (bytes: Buffer): Buffer => bytes;

/**
 * Makes a call with these messages: one, or for a stream as many as there are.
 * @returns how it ended; a stream that begins to answer, or waits, has taken its request
 */
export function send(
  { client }: Connection,
  { path, requestStream, responseStream }: Call,
  messages: readonly Buffer[],
): Promise<Answer> {
  if (requestStream) return sendAll(client, path, messages);
  const [message = Buffer.alloc(0)] = messages;
  return responseStream ? begin(client, path, message) : ask(client, path, message);
}

type Client = Connection['client'];

function ask(client: Client, path: string, message: Buffer): Promise<Answer> {
  const options = { deadline: Date.now() + DEADLINE_MS };
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, same, same, message, new Metadata(), options, (error) => {
      resolve(error ?? undefined);
    });
  });
}

function begin(client: Client, path: string, message: Buffer): Promise<Answer> {
  const call = client.makeServerStreamRequest(path, same, same, message);
  return new Promise((resolve) => {
    const taken = (): void => {
      call.cancel();
      resolve(undefined);
    };
    const quiet = setTimeout(taken, QUIET_MS);
    call.once('data', taken);
    call.on('end', () => undefined);
    call.on('error', (error: ServiceError) => {
      clearTimeout(quiet);
      resolve(error);
    });
  });
}

function sendAll(client: Client, path: string, messages: readonly Buffer[]): Promise<Answer> {
  const options = { deadline: Date.now() + DEADLINE_MS };
  const call = client.makeBidiStreamRequest(path, same, same, new Metadata(), options);
  return new Promise((resolve) => {
    let failure: Answer;
    call.on('data', () => undefined);
    call.on('error', (error: ServiceError) => {
      failure ??= error;
    });
    call.on('status', ({ code }: { readonly code: Status }) => {
      // The error, if there is one, comes beside it.
      setImmediate(() => {
        resolve(code === Status.OK ? undefined : failure);
      });
    });
    for (const message of messages) call.write(message);
    call.end();
  });
}
