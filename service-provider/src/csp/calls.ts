/** What all calls to the CSP have in common. */
import { duoveilError, isDuoveilError } from '@duoveil/common/errors';
import type { RandomSource } from '@duoveil/common/random';
import { isTransient, retrying, type Connection } from '@duoveil/common/runtime';

/** How long one call may take, in milliseconds: calls carry a bounded number of operations. */
export const CALL_DEADLINE_MS = 60_000;

/** The bounds of one call. */
export interface CallOptions {
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

export function callOptions(signal: AbortSignal): CallOptions {
  return { deadlineMs: CALL_DEADLINE_MS, signal };
}

/**
 * A step of a protocol, with its call to the CSP, until it succeeds. The whole step is done again,
 * and draws its masks afresh: a retry never shows the CSP a value under a mask that it has seen.
 */
export function attempts<Result>(
  step: () => Promise<Result>,
  random: RandomSource,
  stop: AbortSignal,
): Promise<Result> {
  return retrying(step, {
    attempts: 6,
    baseMs: 100,
    maxMs: 5_000,
    signal: stop,
    random,
    // What the CSP keeps of us is in its memory only: the next attempt brings it back.
    isRetryable: (error) =>
      isTransient(error) ||
      isBudgetOfMinute(error) ||
      isDuoveilError(error, 'KEY_NOT_REGISTERED') ||
      isDuoveilError(error, 'MODEL_NOT_LOADED') ||
      isDuoveilError(error, 'SESSION_NOT_OPEN'),
  });
}

/** Is a budget spent that is there again within a minute? It is waited for; longer waits are the monitor's. */
function isBudgetOfMinute(error: unknown): boolean {
  return isDuoveilError(error, 'BUDGET_EXCEEDED') && error.details.retryAfterMs <= 60_000;
}

/** @throws DuoveilError `PEER_MISBEHAVED` */
export function requireCount(
  list: readonly unknown[],
  count: number,
  connection: Connection,
): void {
  if (list.length !== count) {
    throw misbehaved(
      connection,
      `${String(list.length)} results where ${String(count)} were asked for`,
    );
  }
}

/** The error for an answer that cannot be right. */
export function misbehaved({ peer }: Connection, what: string): Error {
  return duoveilError('PEER_MISBEHAVED', `${peer} answered with ${what}`, { peer });
}
