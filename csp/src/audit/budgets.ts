/**
 * Budgets: how many charged calls a patient, and a service provider, may have a minute and a day. They
 * bound what a dishonest service provider can find out by asking again and again.
 *
 * What is kept on disk is a count under a keyed hash of the name: no patient can be read from it.
 * Counts are reserved in blocks before they are spent, so that a crash loses at most a block of the
 * budget and never gives any back. Time goes forward only: it is that of the clock when the budgets were
 * opened, or of the last reservation where that is later, and then advances by itself. A clock that is
 * set back renews nothing.
 */
import { createHmac } from 'node:crypto';
import { access } from 'node:fs/promises';

import { duoveilError } from '@duoveil/common/errors';
import { readJsonFile, writeFileAtomic, type Clock } from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';
import { z } from 'zod';

import { Grouped } from './grouped.js';
import { Ledger, savedLedger, type Period } from './ledger.js';

/** Calls that are allowed; 0 for no bound. */
export interface Allowance {
  readonly perMinute: number;
  readonly perDay: number;
}

/** What budgets need. */
export interface BudgetOptions {
  readonly file: string;
  /** Under which names are hashed on disk. */
  readonly key: Secret<Uint8Array>;
  readonly patient: Allowance;
  readonly provider: Allowance;
  readonly clock: Clock;
}

const stateSchema = z.strictObject({
  version: z.literal(2),
  /** When this was written, in milliseconds. */
  time: z.int(),
  minute: savedLedger,
  day: savedLedger,
});

type State = z.output<typeof stateSchema>;

/** One of the bounds that a call is under. */
interface Charge {
  readonly period: Period;
  readonly name: string;
  readonly limit: number;
}

/** Counts calls and refuses what is beyond a budget. */
export class Budgets {
  readonly #options: BudgetOptions;
  readonly #ledgers: Readonly<Record<Period, Ledger>>;
  /** Time is `#origin` and what the monotonic clock shows. */
  readonly #origin: number;
  readonly #writing = new Grouped(() => this.#write());
  /** Are there reservations of which no write has begun? */
  #unwritten = false;

  private constructor(options: BudgetOptions, saved: State | undefined) {
    const { clock } = options;
    const now = Math.max(clock.now().getTime(), saved?.time ?? 0);
    this.#options = options;
    this.#origin = now - Math.floor(clock.monotonicMs());
    this.#ledgers = {
      minute: new Ledger('minute', now, saved?.minute),
      day: new Ledger('day', now, saved?.day),
    };
  }

  /** @throws DuoveilError `CONFIG_INVALID` where the file is damaged */
  static async open(options: BudgetOptions): Promise<Budgets> {
    const present = await access(options.file).then(
      () => true,
      () => false,
    );
    const saved = present ? await readJsonFile(options.file, stateSchema, 'budgets') : undefined;
    return new Budgets(options, saved);
  }

  /**
   * Spend one call.
   * @throws DuoveilError `BUDGET_EXCEEDED`, with the time after which there is budget again
   */
  async spend(patient: string, provider: string): Promise<void> {
    const now = this.#now();
    const charges = [
      ...this.#charges(`patient/${patient}`, this.#options.patient),
      ...this.#charges(`provider/${provider}`, this.#options.provider),
    ];
    const waits = charges.map((charge) => ({
      charge,
      waitMs: this.#ledgers[charge.period].waitMs(charge.name, charge.limit, now),
    }));
    for (const { charge, waitMs } of waits.sort((a, b) => b.waitMs - a.waitMs)) {
      if (waitMs > 0) throw exceeded(charge.period, waitMs);
    }
    for (const { period, name, limit } of charges) {
      if (this.#ledgers[period].spend(name, limit)) this.#unwritten = true;
    }
    // Another call may have reserved the block that this one is of: it has to be on disk as well.
    if (!this.#unwritten) await this.#writing.current.catch(() => undefined);
    if (this.#unwritten) await this.#writing.run();
  }

  #charges(name: string, { perMinute, perDay }: Allowance): Charge[] {
    const hashed = createHmac('sha256', this.#options.key.reveal()).update(name).digest('hex');
    const charges: Charge[] = [
      { period: 'minute', name: hashed, limit: perMinute },
      { period: 'day', name: hashed, limit: perDay },
    ];
    return charges.filter(({ limit }) => limit > 0);
  }

  #now(): number {
    return this.#origin + Math.floor(this.#options.clock.monotonicMs());
  }

  async #write(): Promise<void> {
    this.#unwritten = false;
    const state: State = {
      version: 2,
      time: this.#now(),
      minute: this.#ledgers.minute.saved(),
      day: this.#ledgers.day.saved(),
    };
    try {
      await writeFileAtomic(this.#options.file, `${JSON.stringify(state)}\n`);
    } catch (error) {
      this.#unwritten = true;
      throw error;
    }
  }
}

function exceeded(period: Period, retryAfterMs: number): Error {
  return duoveilError('BUDGET_EXCEEDED', `the budget of this ${period} is spent`, { retryAfterMs });
}
