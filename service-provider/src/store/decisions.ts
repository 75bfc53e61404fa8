import type { PatientId } from '@duoveil/common/runtime';

import { bytesOf } from './blobs.js';
import type { Connection } from './database.js';
import { storing } from './failures.js';
import type { FencedWrites, Lease } from './leases.js';
import { decodeOutcome, encodeOutcome, isAccepted, type Outcome } from './outcomes.js';
import { forgetCiphertexts } from './samples.js';
import type { Place, Seal } from './seal.js';

/** The outcome for one sample of a patient's series. */
export interface Decision {
  readonly sequence: number;
  readonly outcome: Outcome;
}

/** Decisions that are opened at once on the way back through a series. */
const PAGE = 256;

/**
 * Reads and writes decisions, sealed: what was decided is known to this process and not to the
 * database. Each is written once: a second one for the same sample is refused by the key.
 */
export class DecisionStore {
  readonly #db: Connection;
  readonly #writes: FencedWrites;
  readonly #seal: Seal;

  constructor(db: Connection, writes: FencedWrites, seal: Seal) {
    this.#db = db;
    this.#writes = writes;
    this.#seal = seal;
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

  /**
   * The sequence numbers of accepted samples, ascending: at least the last `count` of them and all
   * above `after`, as far as there are so many. The database cannot tell which they are: decisions
   * are opened from the last one back.
   */
  async accepted(patient: PatientId, count: number, after: number): Promise<number[]> {
    const found: number[] = [];
    let before = Infinity;
    while (before > 1 && (found.length < count || before > after + 1)) {
      const page = await this.#pageBefore(patient, before);
      for (const { sequence, outcome } of page) if (isAccepted(outcome)) found.push(sequence);
      if (page.length < PAGE) break;
      before = page.at(-1)?.sequence ?? 1;
    }
    return found.reverse();
  }

  /**
   * Write a decision down, and forget the sample's ciphertexts where nothing will need them any more,
   * in one transaction.
   * @param lease the right to decide for the patient
   * @param keep may a training need them? Whether it was an outlier must make no difference to this.
   * @throws DuoveilError `PATIENT_ELSEWHERE`
   */
  async insert(
    lease: Lease,
    { sequence, outcome }: Decision,
    keep: boolean,
    now: Date,
  ): Promise<void> {
    const { patient } = lease;
    const row = {
      patient,
      sequence,
      sealed_outcome: this.#seal.close(encodeOutcome(outcome), placeOf(patient, sequence)),
      decided_at: now.toISOString(),
    };
    await this.#writes.write(
      lease,
      async (transaction) => {
        await transaction.insertInto('decisions').values(row).execute();
        if (!keep) await forgetCiphertexts(transaction, patient, sequence, sequence);
      },
      { news: true },
    );
  }

  /** Up to `limit` decisions from a sequence number on, in order. */
  async list(patient: PatientId, fromSequence: number, limit: number): Promise<Decision[]> {
    return storing(async () => {
      const rows = await this.#db
        .selectFrom('decisions')
        .select(['sequence', 'sealed_outcome'])
        .where('patient', '=', patient)
        .where('sequence', '>=', fromSequence)
        .orderBy('sequence')
        .limit(limit)
        .execute();
      return rows.map((row) => this.#opened(patient, row));
    });
  }

  /** The last decisions below a sequence number, the last one first. */
  async #pageBefore(patient: PatientId, before: number): Promise<Decision[]> {
    return storing(async () => {
      const rows = await this.#db
        .selectFrom('decisions')
        .select(['sequence', 'sealed_outcome'])
        .where('patient', '=', patient)
        .$if(before !== Infinity, (query) => query.where('sequence', '<', before))
        .orderBy('sequence', 'desc')
        .limit(PAGE)
        .execute();
      return rows.map((row) => this.#opened(patient, row));
    });
  }

  #opened(
    patient: PatientId,
    row: { readonly sequence: number; readonly sealed_outcome: Uint8Array },
  ): Decision {
    const { sequence } = row;
    const bytes = this.#seal.open(bytesOf(row.sealed_outcome), placeOf(patient, sequence));
    return { sequence, outcome: decodeOutcome(bytes) };
  }
}

function placeOf(patient: PatientId, sequence: number): Place {
  return { kind: 'outcome', patient, number: sequence };
}
