import { duoveilError } from '@duoveil/common/errors';
import { integerFromBytes, type RandomSource } from '@duoveil/common/random';
import type { PatientId } from '@duoveil/common/runtime';

import { EMPTY_BOOK, type AlarmBook, type BookChange } from '../alarms/book.js';
import { decodeBook, encodeBook } from '../alarms/book-codec.js';
import { bytesOf } from './blobs.js';
import type { Connection, Database } from './database.js';
import { storing } from './failures.js';
import type { GroupCommit } from './group-commit.js';
import type { FencedWrites, Lease } from './leases.js';
import type { Seal } from './seal.js';

/** A book as the store has it. */
export interface KeptBook {
  readonly book: AlarmBook;
  /**
   * Grows with every look at the store and every change by this process: of two, the one with the
   * higher number is the newer one.
   */
  readonly order: number;
}

/** A change of a book, and what it was changed from. */
export interface ChangedBook extends KeptBook {
  readonly patient: PatientId;
  readonly before: AlarmBook;
}

/** A revision has 48 random bits: it says that a book has changed, and not how often. */
const REVISION_BYTES = 6;

/**
 * Reads and writes the patients' books of alarms, sealed: one row for each patient, which is read and
 * written in one transaction, so that nobody's change gets lost.
 */
export class BookStore {
  readonly #database: Database;
  readonly #commits: GroupCommit;
  readonly #writes: FencedWrites;
  readonly #seal: Seal;
  readonly #random: RandomSource;
  #order = 0;

  constructor(
    database: Database,
    { commits, writes }: { readonly commits: GroupCommit; readonly writes: FencedWrites },
    seal: Seal,
    random: RandomSource,
  ) {
    this.#database = database;
    this.#commits = commits;
    this.#writes = writes;
    this.#seal = seal;
    this.#random = random;
  }

  /** A patient's book; an empty one where there is none yet. */
  async read(patient: PatientId): Promise<KeptBook> {
    const order = this.#next();
    return storing(async () => {
      const row = await this.#database.db
        .selectFrom('alarm_books')
        .selectAll()
        .where('patient', '=', patient)
        .executeTakeFirst();
      return { book: this.#opened(patient, row), order };
    });
  }

  /** See that there is a row: whether a patient has one says nothing of them then. */
  async begin(lease: Lease): Promise<void> {
    const { patient } = lease;
    const row = { patient, ...this.#sealed(patient, EMPTY_BOOK) };
    await this.#writes.write(
      lease,
      async (transaction) => {
        await transaction
          .insertInto('alarm_books')
          .values(row)
          .onConflict((conflict) => conflict.column('patient').doNothing())
          .execute();
      },
      { news: false },
    );
  }

  /**
   * Change patients' books on an operator's behalf: all of them or none. Whoever watches them is told.
   * @throws whatever a change throws
   */
  async change(changes: ReadonlyMap<PatientId, BookChange>): Promise<readonly ChangedBook[]> {
    let done: readonly ChangedBook[] = [];
    await this.#commits.write(async (transaction) => {
      const found: ChangedBook[] = [];
      // Always in the same order: two who do this do not wait for each other.
      for (const [patient, change] of [...changes].sort(([a], [b]) => (a < b ? -1 : 1))) {
        found.push(await this.changeIn(transaction, patient, change));
        await this.#database.announce(transaction, patient, 'book');
      }
      done = found;
    });
    return done;
  }

  /**
   * Change a book by whoever watches the patient.
   * @throws DuoveilError `PATIENT_ELSEWHERE`
   */
  async write(lease: Lease, change: BookChange): Promise<ChangedBook> {
    let done: ChangedBook | undefined;
    await this.#writes.write(
      lease,
      async (transaction) => {
        done = await this.changeIn(transaction, lease.patient, change);
      },
      { news: true },
    );
    if (done === undefined) throw duoveilError('STORAGE_FAILED', 'a book was not written');
    return done;
  }

  /** Change a book as a part of a transaction. It holds once that is committed. */
  async changeIn(
    transaction: Connection,
    patient: PatientId,
    change: BookChange,
  ): Promise<ChangedBook> {
    const row = await transaction
      .selectFrom('alarm_books')
      .selectAll()
      .where('patient', '=', patient)
      // Nobody else changes it between this look and the commit.
      .$if(this.#database.shared, (query) => query.forUpdate())
      .executeTakeFirst();
    const before = this.#opened(patient, row);
    const book = change(before);
    if (book !== before) {
      const sealed = this.#sealed(patient, book);
      await transaction
        .insertInto('alarm_books')
        .values({ patient, ...sealed })
        .onConflict((conflict) => conflict.column('patient').doUpdateSet(sealed))
        .execute();
    }
    return { patient, before, book, order: this.#next() };
  }

  #next(): number {
    this.#order += 1;
    return this.#order;
  }

  #sealed(
    patient: PatientId,
    book: AlarmBook,
  ): { readonly revision: number; readonly sealed_book: Buffer } {
    const revision = Number(integerFromBytes(this.#random.bytes(REVISION_BYTES)));
    const place = { kind: 'book', patient, number: revision } as const;
    return { revision, sealed_book: this.#seal.close(encodeBook(book), place) };
  }

  #opened(
    patient: PatientId,
    row: { readonly revision: number; readonly sealed_book: Uint8Array } | undefined,
  ): AlarmBook {
    if (row === undefined) return EMPTY_BOOK;
    const place = { kind: 'book', patient, number: row.revision } as const;
    return decodeBook(this.#seal.open(bytesOf(row.sealed_book), place), patient);
  }
}
