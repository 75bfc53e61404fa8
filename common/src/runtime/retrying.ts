import { isDuoveilError } from '../errors.js';
import { uniformBelow } from '../random.js';
import type { RandomSource } from '../random.js';
import { systemClock, systemSleep } from './clock.js';
import type { Clock, Sleep } from './clock.js';

/** How an operation is tried again. One of `attempts`, `deadlineMs` and `signal` has to bound it. */
export interface RetryOptions {
  /** At most this many tries in all, at least 1; unbounded if left out. */
  readonly attempts?: number;
  /** No try begins later than this many milliseconds after the first; unbounded if left out. */
  readonly deadlineMs?: number;
  /** The first pause is at most this long, in milliseconds; each further bound is twice the last. */
  readonly baseMs: number;
  /** No pause's bound grows beyond this, in milliseconds. */
  readonly maxMs: number;
  readonly random: RandomSource;
  /** Ends the pauses too. */
  readonly signal?: AbortSignal;
  /** By default {@link isTransient}. */
  readonly isRetryable?: (error: unknown) => boolean;
  /** Called before each pause, for logs. */
  readonly onRetry?: (error: unknown, attempt: number, pauseMs: number) => void;
  readonly sleep?: Sleep;
  readonly clock?: Clock;
}

/** Is it worth trying again, with nothing changed but the time? */
export function isTransient(error: unknown): boolean {
  if (!isDuoveilError(error)) return false;
  switch (error.code) {
    case 'PEER_UNAVAILABLE':
    case 'DEADLINE_EXCEEDED':
    case 'NOT_READY':
    case 'CSP_SEALED':
    case 'PATIENT_ELSEWHERE':
    case 'STORAGE_UNAVAILABLE':
    case 'OVERLOADED':
      return true;
    default:
      return false;
  }
}

/**
 * Does an operation until it succeeds, with exponential back-off and full jitter: each pause is
 * uniform in `[0, min(maxMs, baseMs·2^k)]`, and no shorter than an overloaded peer asks for; where a
 * budget is spent it is added to the time after which there is one again. The
 * operation is the *whole* step: masks and rerandomisers are drawn inside of it, afresh each time.
 * @param operation gets the number of the try, from 1
 * @throws the last error; the signal's reason where it is aborted during a pause
 */
export async function retrying<T>(
  operation: (attempt: number) => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  const clock = options.clock ?? systemClock;
  const sleep = options.sleep ?? systemSleep;
  const isRetryable = options.isRetryable ?? isTransient;
  const startMs = clock.monotonicMs();
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await operation(attempt);
    } catch (error) {
      if (options.signal?.aborted === true || !isRetryable(error)) throw error;
      if (attempt >= (options.attempts ?? Infinity)) throw error;
      const pauseMs = pauseAfter(error, attempt, options);
      const elapsedMs = clock.monotonicMs() - startMs;
      if (elapsedMs + pauseMs > (options.deadlineMs ?? Infinity)) throw error;
      options.onRetry?.(error, attempt, pauseMs);
      await sleep(pauseMs, options.signal);
    }
  }
}

function pauseAfter(error: unknown, attempt: number, options: RetryOptions): number {
  const bound = Math.min(options.maxMs, options.baseMs * 2 ** (attempt - 1));
  const jittered = Number(uniformBelow(BigInt(Math.floor(bound)) + 1n, options.random));
  const asked = isDuoveilError(error, 'OVERLOADED') ? error.details.retryAfterMs : 0;
  // A budget is not there any sooner. Any other wish of a peer's is heeded, but not beyond the caller's
  // own longest pause.
  if (isDuoveilError(error, 'BUDGET_EXCEEDED')) return jittered + error.details.retryAfterMs;
  return Math.max(jittered, Math.min(asked, options.maxMs));
}
