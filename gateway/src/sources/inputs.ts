/** The bytes of what a source reads: a file, or a stream such as standard input. */
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';

import { abortReason } from '@duoveil/common/runtime';

import { fileError } from './input-error.js';

/** What can be read; each call begins anew, where that is possible at all. */
export interface Input {
  /** For people. */
  readonly name: string;
  readonly chunks: () => AsyncIterable<Buffer>;
}

/** A file; it can be read again and again. Reading throws INPUT_INVALID where it cannot be read. */
export function fileInput(path: string): Input {
  return { name: path, chunks: () => readFileChunks(path) };
}

async function* readFileChunks(path: string): AsyncGenerator<Buffer, void> {
  try {
    yield* createReadStream(path) as AsyncIterable<Buffer>;
  } catch (error) {
    throw fileError(error, path);
  }
}

/** A stream, once. When the signal is aborted it is destroyed, and reading throws the signal's reason. */
export function streamInput(name: string, stream: Readable, signal: AbortSignal): Input {
  return { name, chunks: () => readStreamChunks(stream, signal) };
}

async function* readStreamChunks(
  stream: Readable,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void> {
  const end = (): void => {
    stream.destroy(abortReason(signal));
  };
  signal.addEventListener('abort', end, { once: true });
  try {
    if (signal.aborted) throw abortReason(signal);
    for await (const chunk of stream) yield Buffer.from(chunk as Uint8Array);
  } finally {
    signal.removeEventListener('abort', end);
  }
}
