import { duoveilError, toDuoveilError, type DuoveilError } from '@duoveil/common/errors';
import { formatIdentity, metrics, type CallContext, type Clock } from '@duoveil/common/runtime';

import { BoundedCache } from '../keys/bounded-cache.js';
import type { KeyOwner } from '../keys/patient-keys.js';
import type { AuditLog } from './audit-log.js';
import type { Budgets } from './budgets.js';

/** Refusals that are remembered, so that each is in the log once. */
const REMEMBERED = 4096;

/**
 * What the CSP lets a service provider find out: levels within budgets, distances only where that is
 * switched on, within the same budgets and never without a trace.
 */
export class Discipline {
  readonly #allowDistance: boolean;
  readonly #budgets: Budgets;
  readonly #audit: AuditLog;
  readonly #clock: Clock;
  /** Until when, on the monotonic clock, a budget that was refused stays refused. */
  readonly #refusedUntil = new BoundedCache<number>(REMEMBERED);

  constructor(allowDistance: boolean, budgets: Budgets, audit: AuditLog, clock: Clock) {
    this.#allowDistance = allowDistance;
    this.#budgets = budgets;
    this.#audit = audit;
    this.#clock = clock;
  }

  /**
   * Answer a call if it may be answered. It is paid for then, from the budget of the key that it is
   * under; where distances follow from its answer, the audit log has it on disk before this resolves.
   * @param answer begins once the call is admitted, while the audit log writes
   * @throws DuoveilError `OUTPUT_NOT_ALLOWED`, `BUDGET_EXCEEDED`; the refusal is in the audit log
   */
  async answer<Answer>(
    method: string,
    output: 'distance' | 'level',
    owner: KeyOwner,
    { identity }: Pick<CallContext, 'identity'>,
    answer: () => Promise<Answer>,
  ): Promise<Answer> {
    const { patient } = owner;
    const provider = formatIdentity(identity);
    try {
      this.#requireAllowed(output);
      await this.#budgets.spend(owner.keyId, provider);
    } catch (error) {
      const known = toDuoveilError(error);
      metrics.refusals.add(1, { 'error.type': known.code });
      if (this.#isNews(known, `${owner.keyId}/${provider}`)) {
        await this.#audit.append({ event: 'refused', method, patient, code: known.code });
      }
      throw error;
    }
    if (output === 'level') return answer();
    const recorded = this.#audit.append({ event: 'distance', method, patient });
    const [answered] = await Promise.all([answer(), recorded]);
    return answered;
  }

  #requireAllowed(output: 'distance' | 'level'): void {
    if (output === 'distance' && !this.#allowDistance) {
      throw duoveilError(
        'OUTPUT_NOT_ALLOWED',
        'distance output is switched off here: use level output, or switch it on with --allow-distance',
        { output },
      );
    }
  }

  /** A spent budget is refused until it is renewed: the first refusal says so, its repetitions add nothing. */
  #isNews(error: DuoveilError, who: string): boolean {
    if (error.code !== 'BUDGET_EXCEEDED') return true;
    const now = this.#clock.monotonicMs();
    if (now < (this.#refusedUntil.get(who) ?? -Infinity)) return false;
    this.#refusedUntil.set(who, now + error.details.retryAfterMs);
    return true;
  }
}
