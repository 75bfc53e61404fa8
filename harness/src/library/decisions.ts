import { duoveilError } from '@duoveil/common/errors';
import type { Decision, Gateway } from '@duoveil/gateway';

/** Which decisions to wait for. */
export interface ExpectedDecisions {
  /** The first sequence number; by default 1. */
  readonly from?: number | undefined;
  /** How many, 1 or more. */
  readonly count: number;
  /** How long to wait for all of them, in milliseconds; by default 30 s. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Waits until decisions are there, and returns them in order.
 * @throws DEADLINE_EXCEEDED where they do not come in time; as `Gateway.decisions`
 */
export async function awaitDecisions(
  gateway: Gateway,
  { from = 1, count, timeoutMs = 30_000 }: ExpectedDecisions,
): Promise<Decision[]> {
  const decisions: Decision[] = [];
  const signal = AbortSignal.timeout(timeoutMs);
  for await (const decision of gateway.decisions({ from, signal })) {
    decisions.push(decision);
    if (decisions.length >= count) return decisions;
  }
  if (!signal.aborted) {
    throw duoveilError('NOT_READY', 'the gateway was closed before all decisions came');
  }
  throw duoveilError(
    'DEADLINE_EXCEEDED',
    `${decisions.length} of ${count} decisions came in ${timeoutMs} ms`,
    { peer: 'sp' },
  );
}
