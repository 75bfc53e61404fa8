import { z } from 'zod';

/** A period's length in milliseconds, and the blocks in which its budget is reserved on disk. */
const PERIODS = {
  minute: { ms: 60_000, blocks: 4 },
  day: { ms: 24 * 60 * 60_000, blocks: 100 },
} as const;

/** For how long a budget is. */
export type Period = keyof typeof PERIODS;

/** A ledger as it is on disk: which period, and what of it is reserved, by name. */
export const savedLedger = z.strictObject({
  index: z.int(),
  reserved: z.record(z.string().regex(/^[0-9a-f]{64}$/), z.int().min(0)),
});

export type SavedLedger = z.output<typeof savedLedger>;

interface Count {
  spent: number;
  /** On disk as spent: never less than `spent`. */
  reserved: number;
}

/**
 * What was spent in the period that is now. It is reserved in blocks before it is spent: a stop costs
 * the rest of a block and gives nothing back.
 */
export class Ledger {
  readonly #period: Period;
  readonly #counts = new Map<string, Count>();
  #index: number;

  /** @param now milliseconds; what was saved in another period counts no more */
  constructor(period: Period, now: number, saved?: SavedLedger) {
    this.#period = period;
    this.#index = this.#indexOf(now);
    if (saved?.index !== this.#index) return;
    for (const [name, reserved] of Object.entries(saved.reserved)) {
      this.#counts.set(name, { spent: reserved, reserved });
    }
  }

  /** How long it takes until there is budget, in milliseconds; 0 where there is some now. */
  waitMs(name: string, limit: number, now: number): number {
    this.#turn(now);
    if ((this.#counts.get(name)?.spent ?? 0) < limit) return 0;
    return (this.#index + 1) * PERIODS[this.#period].ms - now;
  }

  /**
   * Spend one of so many.
   * @returns whether a block was reserved for it, which has to be on disk first
   */
  spend(name: string, limit: number): boolean {
    const { spent, reserved } = this.#counts.get(name) ?? { spent: 0, reserved: 0 };
    const reserves = spent >= reserved;
    const block = reserves ? Math.max(1, Math.ceil(limit / PERIODS[this.#period].blocks)) : 0;
    this.#counts.set(name, { spent: spent + 1, reserved: reserved + block });
    return reserves;
  }

  saved(): SavedLedger {
    const reserved = [...this.#counts].map(([name, count]) => [name, count.reserved] as const);
    return { index: this.#index, reserved: Object.fromEntries(reserved) };
  }

  #turn(now: number): void {
    const index = this.#indexOf(now);
    if (index === this.#index) return;
    this.#index = index;
    this.#counts.clear();
  }

  #indexOf(now: number): number {
    return Math.floor(now / PERIODS[this.#period].ms);
  }
}
