import { duoveilError } from '@duoveil/common/errors';
import type { Clock } from '@duoveil/common/runtime';

/** Failures that one caller may have within the period. */
const ALLOWED = 5;
const PERIOD_MS = 60_000;

/** Slows guessing down: after some failures a caller has to wait. */
export class Attempts {
  readonly #clock: Clock;
  /** When each caller failed, the last ones only. */
  readonly #failures = new Map<string, number[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws DuoveilError `OVERLOADED` where the caller has failed too often of late */
  require(caller: string): void {
    const [oldest, ...others] = this.#recent(caller);
    if (oldest === undefined || others.length + 1 < ALLOWED) return;
    const retryAfterMs = Math.ceil(oldest + PERIOD_MS - this.#clock.monotonicMs());
    throw duoveilError('OVERLOADED', 'too many failed attempts: wait a minute', { retryAfterMs });
  }

  /** The caller has failed. */
  failed(caller: string): void {
    for (const name of this.#failures.keys()) this.#recent(name);
    this.#failures.set(caller, [...this.#recent(caller), this.#clock.monotonicMs()]);
  }

  #recent(caller: string): number[] {
    const since = this.#clock.monotonicMs() - PERIOD_MS;
    const recent = (this.#failures.get(caller) ?? []).filter((at) => at > since);
    if (recent.length === 0) this.#failures.delete(caller);
    else this.#failures.set(caller, recent);
    return recent;
  }
}
