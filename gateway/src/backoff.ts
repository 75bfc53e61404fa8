import type { RandomSource } from '@duoveil/common/random';
import { isTransient, retrying } from '@duoveil/common/runtime';
import type { Logger, Sleep } from '@duoveil/common/runtime';

/** How a {@link Backoff} waits. */
export interface BackoffOptions {
  /** The first pause is at most this long, in milliseconds; by default 200. */
  readonly firstMs?: number;
  /** No pause is longer than this, in milliseconds; by default 10 s. */
  readonly longestMs?: number;
  readonly random: RandomSource;
  readonly sleep?: Sleep;
  readonly logger: Logger;
  /** By default {@link isTransient}. */
  readonly isRetryable?: (error: unknown) => boolean;
}

/**
 * The pauses between the connections of a long-lived stream: as {@link retrying} makes them, but
 * they begin anew whenever a connection got something done.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** Something was done: the next pause is a short one again. */
  reset(): void {
    this.#failures = 0;
  }

  /**
   * Pauses after a failed connection.
   * @throws the error itself where trying again cannot help, or where the signal is aborted
   */
  async after(error: unknown, signal: AbortSignal): Promise<void> {
    const { firstMs = 200, longestMs = 10_000, random, sleep, logger, isRetryable } = this.#options;
    const baseMs = Math.min(firstMs * 2 ** this.#failures, longestMs);
    this.#failures = Math.min(this.#failures + 1, 16);
    await retrying((attempt) => (attempt === 1 ? rethrow(error) : Promise.resolve()), {
      attempts: 2,
      baseMs,
      maxMs: longestMs,
      random,
      signal,
      isRetryable: isRetryable ?? isTransient,
      onRetry: (_error, _attempt, pauseMs) => {
        logger.warn('connection lost; trying again', { error, pauseMs });
      },
      ...(sleep !== undefined && { sleep }),
    });
  }
}

function rethrow(error: unknown): Promise<void> {
  return Promise.reject(error instanceof Error ? error : new Error('failed', { cause: error }));
}
