import type { PatientId } from '@duoveil/common/runtime';

import type { BookChange } from '../alarms/book.js';
import { bytesOf } from './blobs.js';
import type { BookStore, ChangedBook } from './books.js';
import type { Connection } from './database.js';
import { storing } from './failures.js';
import type { FencedWrites, Lease } from './leases.js';
import { decodeOutcome, encodeOutcome, isAccepted, type Outcome } from './outcomes.js';
import { forgetCiphertexts, timesOf } from './samples.js';
import type { Place, Seal } from './seal.js';

/** The outcome for one sample of a patient's series. */
export interface Decision {
  readonly sequence: number;
  readonly outcome: Outcome;
}

/** A decision, and when its sample was measured, or else came in. */
export interface TimedDecision extends Decision {
  readonly at: Date;
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
  readonly #books: BookStore;

  constructor(db: Connection, writes: FencedWrites, seal: Seal, books: BookStore) {
    this.#db = db;
    this.#writes = writes;
    this.#seal = seal;
    this.#books = books;
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
   * @param through look at no decision above it
   */
  async accepted(
    patient: PatientId,
    count: number,
    after: number,
    through = Infinity,
  ): Promise<number[]> {
    const found: number[] = [];
    for await (const page of this.backwards(patient, PAGE, through)) {
      for (const { sequence, outcome } of page) if (isAccepted(outcome)) found.push(sequence);
      if (found.length >= count && (page.at(-1)?.sequence ?? 1) <= after + 1) break;
    }
    return found.reverse();
  }

  /** All decisions from the last one back, or from the one numbered `through`, so many at once. */
  async *backwards(
    patient: PatientId,
    page: number,
    through = Infinity,
  ): AsyncGenerator<Decision[], void> {
    let before = through + 1;
    while (before > 1) {
      const decisions = await this.#pageBefore(patient, before, page);
      yield decisions;
      before = decisions.length < page ? 1 : (decisions.at(-1)?.sequence ?? 1);
    }
  }

  /**
   * Write a decision down, and forget the sample's ciphertexts where nothing will need them any more,
   * in one transaction; in the same one, what it changes in the patient's book of alarms.
   * @param lease the right to decide for the patient
   * @param keep may a training need them? Whether it was an outlier must make no difference to this.
   * @param change what becomes of the book; undefined for nothing
   * @returns the changed book, where there is a change
   * @throws DuoveilError `PATIENT_ELSEWHERE`
   */
  async insert(
    lease: Lease,
    { sequence, outcome }: Decision,
    keep: boolean,
    now: Date,
    change?: BookChange,
  ): Promise<ChangedBook | undefined> {
    const { patient } = lease;
    const row = {
      patient,
      sequence,
      sealed_outcome: this.#seal.close(encodeOutcome(outcome), placeOf(patient, sequence)),
      decided_at: now.toISOString(),
    };
    let changed: ChangedBook | undefined;
    await this.#writes.write(
      lease,
      async (transaction) => {
        await transaction.insertInto('decisions').values(row).execute();
        if (!keep) await forgetCiphertexts(transaction, patient, sequence, sequence);
        changed = change && (await this.#books.changeIn(transaction, patient, change));
      },
      { news: true },
    );
    return changed;
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

  /** Up to `limit` decisions from a sequence number on, in order, with their times. */
  async timeline(patient: PatientId, from: number, limit: number): Promise<TimedDecision[]> {
    return storing(async () => {
      const rows = await this.#timed(patient)
        .where('decisions.sequence', '>=', from)
        .orderBy('decisions.sequence')
        .limit(limit)
        .execute();
      return rows.map((row) => this.#openedTimed(patient, row));
    });
  }

  /** The last `count` decisions, in order, with their times. */
  async latest(patient: PatientId, count: number): Promise<TimedDecision[]> {
    return storing(async () => {
      const rows = await this.#timed(patient)
        .orderBy('decisions.sequence', 'desc')
        .limit(count)
        .execute();
      return rows.map((row) => this.#openedTimed(patient, row)).reverse();
    });
  }

  /** A query for the decisions on a patient beside their samples. */
  #timed(patient: PatientId) {
    return this.#db
      .selectFrom('decisions')
      .innerJoin('samples', (join) =>
        join
          .onRef('samples.patient', '=', 'decisions.patient')
          .onRef('samples.sequence', '=', 'decisions.sequence'),
      )
      .select(['decisions.sequence', 'sealed_outcome', 'received_at', 'measured_at'])
      .where('decisions.patient', '=', patient);
  }

  #openedTimed(
    patient: PatientId,
    row: Parameters<typeof timesOf>[0] & DecisionRow,
  ): TimedDecision {
    const { receivedAt, measuredAt } = timesOf(row);
    return { ...this.#opened(patient, row), at: measuredAt ?? receivedAt };
  }

  /** The last decisions below a sequence number, the last one first. */
  async #pageBefore(patient: PatientId, before: number, limit: number): Promise<Decision[]> {
    return storing(async () => {
      const rows = await this.#db
        .selectFrom('decisions')
        .select(['sequence', 'sealed_outcome'])
        .where('patient', '=', patient)
        .$if(before !== Infinity, (query) => query.where('sequence', '<', before))
        .orderBy('sequence', 'desc')
        .limit(limit)
        .execute();
      return rows.map((row) => this.#opened(patient, row));
    });
  }

  #opened(patient: PatientId, row: DecisionRow): Decision {
    const { sequence } = row;
    const bytes = this.#seal.open(bytesOf(row.sealed_outcome), placeOf(patient, sequence));
    return { sequence, outcome: decodeOutcome(bytes) };
  }
}

interface DecisionRow {
  readonly sequence: number;
  readonly sealed_outcome: Uint8Array;
}

function placeOf(patient: PatientId, sequence: number): Place {
  return { kind: 'outcome', patient, number: sequence };
}
