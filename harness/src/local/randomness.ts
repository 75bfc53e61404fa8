import { createCipheriv, createHash } from 'node:crypto';

import type { RandomSource } from '@duoveil/common/random';

/** Reproducible bytes from a seed: AES-256-CTR under the seed's hash. For tests and benchmarks only. */
export class SeededRandom implements RandomSource {
  readonly #stream;

  constructor(seed: string) {
    const key = createHash('sha256').update(seed).digest();
    this.#stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  }

  bytes(length: number): Uint8Array {
    return this.#stream.update(Buffer.alloc(length));
  }
}

/** Hands out queued bytes, and throws when it runs dry or is asked for another length. */
export class QueuedRandom implements RandomSource {
  readonly #queue: Uint8Array[];

  constructor(draws: readonly Uint8Array[]) {
    this.#queue = [...draws];
  }

  /** How many draws are left. */
  get remaining(): number {
    return this.#queue.length;
  }

  bytes(length: number): Uint8Array {
    const next = this.#queue.shift();
    if (next === undefined) throw new Error('the random queue ran dry');
    if (next.length !== length) {
      throw new Error(`the queue holds ${next.length} bytes where ${length} are drawn`);
    }
    return next;
  }
}

/** Passes another source's bytes on and keeps a record of them. */
export class RecordingRandom implements RandomSource {
  readonly draws: Uint8Array[] = [];
  readonly #source: RandomSource;

  constructor(source: RandomSource) {
    this.#source = source;
  }

  bytes(length: number): Uint8Array {
    const bytes = Uint8Array.from(this.#source.bytes(length));
    this.draws.push(bytes);
    return bytes;
  }
}
