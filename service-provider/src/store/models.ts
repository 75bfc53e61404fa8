import type { PatientId } from '@duoveil/common/runtime';

import { bytesOf } from './blobs.js';
import { inTransaction, storing, type Connection } from './database.js';
import { forgetCiphertexts } from './samples.js';

/** An encrypted baseline. */
export interface StoredModel {
  /** 1 for a patient's first, then counting. */
  readonly number: number;
  /** The last sample that had been decided when it was trained. */
  readonly throughSequence: number;
  /** What the suite needs to score, in a form of its own. */
  readonly content: Uint8Array;
  /** Wall time of the training, in milliseconds. */
  readonly trainMs: number;
}

/** What a training says to those who watch. */
export type TrainingNotice = Omit<StoredModel, 'content'>;

/** Reads and writes the encrypted baselines. */
export class ModelStore {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** The model in force, or undefined before the first training. */
  async latest(patient: PatientId): Promise<StoredModel | undefined> {
    return storing(async () => {
      const row = await this.#db
        .selectFrom('models')
        .selectAll()
        .where('patient', '=', patient)
        .orderBy('number', 'desc')
        .limit(1)
        .executeTakeFirst();
      return (
        row && {
          number: row.number,
          throughSequence: row.through_sequence,
          content: bytesOf(row.content),
          trainMs: row.train_ms,
        }
      );
    });
  }

  /**
   * Put a model in force, and forget what only its training needed, in one transaction.
   * @param keep how many accepted samples a later training will need; 0 where there is none.
   */
  async insert(patient: PatientId, model: StoredModel, keep: number, now: Date): Promise<void> {
    await storing(() =>
      inTransaction(this.#db, async (transaction) => {
        await transaction
          .insertInto('models')
          .values({
            patient,
            number: model.number,
            through_sequence: model.throughSequence,
            content: model.content,
            train_ms: model.trainMs,
            trained_at: now.toISOString(),
          })
          .execute();
        await forgetCiphertexts(transaction, patient, model.throughSequence, keep);
      }),
    );
  }

  /** Trainings after the one numbered `after` that happened once sample `fromSequence` was decided, oldest first. */
  async trainings(
    patient: PatientId,
    after: number,
    fromSequence: number,
  ): Promise<TrainingNotice[]> {
    return storing(async () => {
      const rows = await this.#db
        .selectFrom('models')
        .select(['number', 'through_sequence', 'train_ms'])
        .where('patient', '=', patient)
        .where('number', '>', after)
        .where('through_sequence', '>=', fromSequence)
        .orderBy('number')
        .execute();
      return rows.map((row) => ({
        number: row.number,
        throughSequence: row.through_sequence,
        trainMs: row.train_ms,
      }));
    });
  }
}
