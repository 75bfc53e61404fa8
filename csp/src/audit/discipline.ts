import { duoveilError, toDuoveilError } from '@duoveil/common/errors';
import { formatIdentity, type CallContext } from '@duoveil/common/runtime';

import type { AuditLog } from './audit-log.js';
import type { Budgets } from './budgets.js';

/**
 * What the CSP lets a service provider find out: levels within budgets, distances only where that is
 * switched on and never without a trace.
 */
export class Discipline {
  readonly #allowDistance: boolean;
  readonly #budgets: Budgets;
  readonly #audit: AuditLog;

  constructor(allowDistance: boolean, budgets: Budgets, audit: AuditLog) {
    this.#allowDistance = allowDistance;
    this.#budgets = budgets;
    this.#audit = audit;
  }

  /**
   * May this score be answered? It is paid for then.
   * @throws DuoveilError `OUTPUT_NOT_ALLOWED`, `BUDGET_EXCEEDED`; the refusal is in the audit log
   */
  async admit(
    method: string,
    output: 'distance' | 'level',
    patient: string,
    { identity }: CallContext,
  ): Promise<void> {
    await this.#noting(method, patient, async () => {
      this.requireAllowed(output);
      await this.#budgets.spend(patient, formatIdentity(identity));
    });
    if (output === 'distance') await this.#audit.append({ event: 'distance', method, patient });
  }

  /**
   * May a call be answered from which distances follow, though it is not yet one? It costs nothing.
   * @throws DuoveilError `OUTPUT_NOT_ALLOWED`; the refusal is in the audit log
   */
  async permit(method: string, patient: string): Promise<void> {
    await this.#noting(method, patient, () => {
      this.requireAllowed('distance');
    });
  }

  /** @throws DuoveilError `OUTPUT_NOT_ALLOWED` */
  requireAllowed(output: 'distance' | 'level'): void {
    if (output === 'distance' && !this.#allowDistance) {
      throw duoveilError(
        'OUTPUT_NOT_ALLOWED',
        'distance output is switched off here: use level output, or switch it on with --allow-distance',
        { output },
      );
    }
  }

  /** Do something; where it is refused, the audit log says so. */
  async #noting(method: string, patient: string, work: () => Promise<void> | void): Promise<void> {
    try {
      await work();
    } catch (error) {
      const { code } = toDuoveilError(error);
      await this.#audit.append({ event: 'refused', method, patient, code });
      throw error;
    }
  }
}
