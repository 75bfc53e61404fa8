import { isDuoveilError } from '@duoveil/common/errors';

import { inTransaction, type Connection } from './database.js';
import { storing } from './failures.js';

/** Something to write, in a transaction that it may share with others. */
export type Writing = (transaction: Connection) => Promise<void>;

interface Waiting {
  readonly writing: Writing;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Commits together what comes together: to bring one transaction to disk takes as long as to bring
 * many, and the event loop is held for so long. Who writes alone does not wait for others.
 */
export class GroupCommit {
  readonly #db: Connection;
  readonly #largest: number;
  readonly #waiting: Waiting[] = [];
  #running = false;

  /** @param largest how many writings may share a transaction */
  constructor(db: Connection, largest = Infinity) {
    this.#db = db;
    this.#largest = largest;
  }

  /**
   * When this resolves, what was written is on disk, all of it; where it rejects, none is. A
   * connection that was cut is the one exception: nobody knows then.
   * @throws DuoveilError as {@link storing} does
   */
  write(writing: Writing): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ writing, resolve, reject });
      this.#begin();
    });
  }

  #begin(): void {
    if (this.#running || this.#waiting.length === 0) return;
    this.#running = true;
    // Whatever else this turn of the event loop brings comes along.
    setImmediate(() => {
      const group = this.#waiting.splice(0, this.#largest);
      void this.#settle(group).finally(() => {
        this.#running = false;
        this.#begin();
      });
    });
  }

  async #settle(group: readonly Waiting[]): Promise<void> {
    try {
      await this.#commit(group);
    } catch (error) {
      // One of them cannot be written: the others must not suffer for it.
      if (!isDuoveilError(error, 'STORAGE_UNAVAILABLE') || isDeadlock(error)) {
        for (const one of group) await this.#alone(one);
        return;
      }
      for (const { reject } of group) reject(error);
      return;
    }
    for (const { resolve } of group) resolve();
  }

  async #alone(one: Waiting): Promise<void> {
    try {
      await this.#commit([one]);
      one.resolve();
    } catch (error) {
      one.reject(error);
    }
  }

  #commit(group: readonly Waiting[]): Promise<void> {
    return storing(() =>
      inTransaction(this.#db, async (transaction) => {
        for (const { writing } of group) await writing(transaction);
      }),
    );
  }
}

/** Two transactions that wait for each other's rows: this one was given up, and one row at a time does. */
function isDeadlock({ cause }: Error): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === '40P01';
}
