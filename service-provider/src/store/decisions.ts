import type { PatientId } from '@duoveil/common/runtime';

import { storing, type Connection } from './database.js';
import type { GroupCommit } from './group-commit.js';
import { forgetCiphertexts } from './samples.js';
import type { DecisionRow } from './tables.js';

/** What was found for one sample. */
export type Outcome =
  | { readonly kind: 'learning' }
  | {
      readonly kind: 'scored';
      readonly outlier: boolean;
      /** What was learnt: `MD²`, the exact rational rounded once, or a level. */
      readonly statistic:
        | { readonly kind: 'distance'; readonly squaredDistance: number }
        | { readonly kind: 'level'; readonly level: number };
      /** The number of the model that it was scored against. */
      readonly model: number;
      /** From the moment the sample was taken up to the decision, in milliseconds. */
      readonly latencyMs: number;
    }
  /** The ciphertext holds no sample of the patient's schema: nothing can be said of it. */
  | { readonly kind: 'unscorable' };

/** The outcome for one sample of a patient's series. */
export interface Decision {
  readonly sequence: number;
  readonly outcome: Outcome;
}

/** Reads and writes decisions. Each is written once: a second one for the same sample is refused by the key. */
export class DecisionStore {
  readonly #db: Connection;
  readonly #commits: GroupCommit;

  constructor(db: Connection, commits: GroupCommit) {
    this.#db = db;
    this.#commits = commits;
  }

  /** The last sequence number that has a decision; 0 where there is none. */
  async last(patient: PatientId): Promise<number> {
    return storing(async () => {
      const row = await this.#db
        .selectFrom('decisions')
        .select((builder) => builder.fn.max('sequence').as('last'))
        .where('patient', '=', patient)
        .executeTakeFirst();
      return row?.last ?? 0;
    });
  }

  /** How many samples after a sequence number were accepted: used to learn, or scored and no outlier. */
  async acceptedAfter(patient: PatientId, sequence: number): Promise<number> {
    return storing(async () => {
      const row = await this.#db
        .selectFrom('decisions')
        .select((builder) => builder.fn.countAll().as('count'))
        .where('patient', '=', patient)
        .where('sequence', '>', sequence)
        .where((is) => is.or([is('outcome', '=', 'learning'), is('outlier', '=', 0)]))
        .executeTakeFirst();
      return Number(row?.count ?? 0);
    });
  }

  /**
   * Write a decision down, and forget the ciphertexts that nothing will need any more, in one
   * transaction.
   * @param keep how many accepted samples a later training will need; 0 where there is none.
   */
  async insert(
    patient: PatientId,
    { sequence, outcome }: Decision,
    keep: number,
    now: Date,
  ): Promise<void> {
    const scored = outcome.kind === 'scored' ? outcome : undefined;
    await storing(() =>
      this.#commits.write(async (transaction) => {
        await transaction
          .insertInto('decisions')
          .values({
            patient,
            sequence,
            outcome: outcome.kind,
            outlier: scored === undefined ? null : Number(scored.outlier),
            squared_distance:
              scored?.statistic.kind === 'distance' ? scored.statistic.squaredDistance : null,
            level: scored?.statistic.kind === 'level' ? scored.statistic.level : null,
            model: scored?.model ?? null,
            latency_ms: scored?.latencyMs ?? null,
            decided_at: now.toISOString(),
          })
          .execute();
        await forgetCiphertexts(transaction, patient, sequence, keep);
      }),
    );
  }

  /** Up to `limit` decisions from a sequence number on, in order. */
  async list(patient: PatientId, fromSequence: number, limit: number): Promise<Decision[]> {
    return storing(async () => {
      const rows = await this.#db
        .selectFrom('decisions')
        .selectAll()
        .where('patient', '=', patient)
        .where('sequence', '>=', fromSequence)
        .orderBy('sequence')
        .limit(limit)
        .execute();
      return rows.map((row) => ({ sequence: row.sequence, outcome: outcomeOf(row) }));
    });
  }
}

function outcomeOf(row: DecisionRow): Outcome {
  if (row.outcome !== 'scored') return { kind: row.outcome };
  return {
    kind: 'scored',
    outlier: row.outlier === 1,
    statistic:
      row.level === null
        ? { kind: 'distance', squaredDistance: row.squared_distance ?? NaN }
        : { kind: 'level', level: row.level },
    model: row.model ?? 0,
    latencyMs: row.latency_ms ?? 0,
  };
}
