import type { RowResult } from './row-results.js';

/**
 * What a patient's gateways were told. Each gateway, the first and those that followed one that was
 * killed, is told everything from the first row on: in order, and always the same. After a move to another
 * generation of keys, the first row is the first one that had no decision.
 */
export class ToldRows {
  readonly #expected: readonly RowResult[];
  readonly #waiting = new Set<() => void>();
  /** Rows that the present gateway was told of. */
  #told = 0;
  /** Rows that any was told of. */
  #most = 0;
  #wrong: string | undefined;

  constructor(expected: readonly RowResult[]) {
    this.#expected = expected;
  }

  /** What was wrong first; undefined where nothing was. */
  get wrong(): string | undefined {
    return this.#wrong;
  }

  /** Rows that a gateway was told of. */
  get count(): number {
    return this.#most;
  }

  /** How many of these are complete: rows that become samples. */
  get complete(): number {
    return this.#expected.slice(0, this.#most).filter((row) => !('skipped' in row)).length;
  }

  /** Another gateway begins, which is told of the rows from a number on. */
  begin(from = 0): void {
    this.#told = from;
    this.#most = Math.max(this.#most, from);
  }

  /** The present gateway was told this. */
  add(result: RowResult): void {
    const wanted = this.#expected[this.#told];
    if (JSON.stringify(result) !== JSON.stringify(wanted)) {
      this.#wrong ??= `the gateway was told ${JSON.stringify(result)} where ${JSON.stringify(wanted)} comes`;
    }
    this.#told += 1;
    this.#most = Math.max(this.#most, this.#told);
    for (const look of [...this.#waiting]) look();
  }

  /** Waits until the present gateway, or one that follows it, was told of so many rows. */
  until(rows: number): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.#told < rows && this.#wrong === undefined) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }
}
