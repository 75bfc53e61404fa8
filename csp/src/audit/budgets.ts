/**
 * Budgets of scores: how many a patient, and a service provider, may have a minute and a day. They
 * bound what a dishonest service provider can find out by asking again and again.
 *
 * What is kept on disk is a count for today under a keyed hash of the name: no patient can be read
 * from it. Counts are reserved in blocks before they are spent, so that a crash loses at most a block
 * of the budget and never gives any back. Minutes are counted in memory.
 */
import { createHmac } from 'node:crypto';

import { duoveilError } from '@duoveil/common/errors';
import { readJsonFile, writeFileAtomic, type Clock } from '@duoveil/common/runtime';
import type { Secret } from '@duoveil/common/secret';
import { access } from 'node:fs/promises';
import { z } from 'zod';

/** Scores that are allowed; 0 for no bound. */
export interface Allowance {
  readonly perMinute: number;
  readonly perDay: number;
}

/** Blocks into which a day's budget is divided on disk. */
const BLOCKS_PER_DAY = 100;

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

const stateSchema = z.strictObject({
  version: z.literal(1),
  day: z.int(),
  reserved: z.record(z.string().regex(/^[0-9a-f]{64}$/), z.int().min(0)),
});

interface Count {
  minute: number;
  thisMinute: number;
  today: number;
  /** Of today, on disk: never less than `today`. */
  reserved: number;
}

/** Counts scores and refuses what is beyond a budget. */
export class Budgets {
  readonly #file: string;
  readonly #key: Secret<Uint8Array>;
  readonly #allowances: Readonly<Record<'patient' | 'provider', Allowance>>;
  readonly #clock: Clock;
  readonly #counts = new Map<string, Count>();
  #day: number;
  #writing: Promise<void> = Promise.resolve();

  private constructor(options: BudgetOptions, day: number, reserved: ReadonlyMap<string, number>) {
    this.#file = options.file;
    this.#key = options.key;
    this.#allowances = { patient: options.patient, provider: options.provider };
    this.#clock = options.clock;
    this.#day = day;
    // What was reserved before a stop counts as spent.
    for (const [name, count] of reserved) {
      this.#counts.set(name, { minute: 0, thisMinute: 0, today: count, reserved: count });
    }
  }

  /** @throws DuoveilError `CONFIG_INVALID` where the file is damaged */
  static async open(options: BudgetOptions): Promise<Budgets> {
    const today = dayOf(options.clock);
    const present = await access(options.file).then(
      () => true,
      () => false,
    );
    if (!present) return new Budgets(options, today, new Map());
    const state = await readJsonFile(options.file, stateSchema, 'budgets');
    const reserved = new Map(state.day === today ? Object.entries(state.reserved) : []);
    return new Budgets(options, today, reserved);
  }

  /**
   * Spend one score.
   * @throws DuoveilError `BUDGET_EXCEEDED`, with the time after which there is budget again
   */
  async spend(patient: string, provider: string): Promise<void> {
    this.#turnDay();
    const counts = [
      this.#count(`patient/${patient}`, this.#allowances.patient),
      this.#count(`provider/${provider}`, this.#allowances.provider),
    ];
    for (const { count, allowance } of counts) this.#requireBudget(count, allowance);
    let reserve = false;
    for (const { count, allowance } of counts) {
      count.thisMinute += 1;
      count.today += 1;
      if (allowance.perDay > 0 && count.today > count.reserved) {
        count.reserved += Math.max(1, Math.ceil(allowance.perDay / BLOCKS_PER_DAY));
        reserve = true;
      }
    }
    if (reserve) await this.#write();
    // Another score may have reserved the block that this one is of: it has to be on disk as well.
    else await this.#writing.catch(() => this.#write());
  }

  #requireBudget({ thisMinute, today }: Count, { perMinute, perDay }: Allowance): void {
    const now = this.#clock.now().getTime();
    if (perDay > 0 && today >= perDay) throw exceeded('day', DAY_MS - (now % DAY_MS));
    if (perMinute > 0 && thisMinute >= perMinute) {
      throw exceeded('minute', MINUTE_MS - (now % MINUTE_MS));
    }
  }

  #count(name: string, allowance: Allowance): { count: Count; allowance: Allowance } {
    const key = createHmac('sha256', this.#key.reveal()).update(name).digest('hex');
    const minute = Math.floor(this.#clock.now().getTime() / MINUTE_MS);
    let count = this.#counts.get(key);
    if (count === undefined) {
      count = { minute, thisMinute: 0, today: 0, reserved: 0 };
      this.#counts.set(key, count);
    }
    if (count.minute !== minute) {
      count.minute = minute;
      count.thisMinute = 0;
    }
    return { count, allowance };
  }

  #turnDay(): void {
    const today = dayOf(this.#clock);
    if (today === this.#day) return;
    this.#day = today;
    this.#counts.clear();
  }

  /** One write after the other, the last one with everything; also after one that failed. */
  #write(): Promise<void> {
    const before = this.#writing.catch(() => undefined);
    this.#writing = before.then(() => {
      const reserved = Object.fromEntries(
        [...this.#counts]
          .filter(([, count]) => count.reserved > 0)
          .map(([k, c]) => [k, c.reserved]),
      );
      const state: z.input<typeof stateSchema> = { version: 1, day: this.#day, reserved };
      return writeFileAtomic(this.#file, `${JSON.stringify(state)}\n`);
    });
    return this.#writing;
  }
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

function dayOf(clock: Clock): number {
  return Math.floor(clock.now().getTime() / DAY_MS);
}

function exceeded(period: string, retryAfterMs: number): Error {
  return duoveilError('BUDGET_EXCEEDED', `the budget of this ${period} is spent`, { retryAfterMs });
}
