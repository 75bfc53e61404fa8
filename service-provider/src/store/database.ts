import { Migrator, type Kysely, type RawBuilder } from 'kysely';

import { migrations } from './migrations.js';
import type { Tables } from './tables.js';

/** Queries go to this: the database, or a transaction on it. */
export type Connection = Kysely<Tables>;

/** What there is news of: decisions and models, or what an operator wrote into a book of alarms. */
export type News = 'progress' | 'book';

/** Told when there may be news of a patient, or of any and of any kind where none is named. */
export type NewsListener = (patient: string | undefined, news: News) => void;

/** The database below the store. What differs from one product to another is all in here. */
export interface Database {
  readonly db: Connection;
  /** May other processes have it open at the same time? */
  readonly shared: boolean;
  /** Milliseconds by the database's own clock, in SQL: all replicas go by it. */
  readonly nowMs: RawBuilder<number>;
  /** Tells the listeners of other processes about a patient, as soon as the transaction is committed. */
  announce(transaction: Connection, patient: string, news: News): Promise<void>;
  /** Has a listener told what other processes announce, until the database is closed. */
  listen(listener: NewsListener): void;
  close(): Promise<void>;
}

/** A database that is only read. Its layout is as it is found. */
export interface SnapshotSource {
  /** Has all queries of `read` see the same moment, whatever others write meanwhile. */
  snapshot(read: (connection: Connection) => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** Bring a database to the current layout. */
export async function migrate(db: Connection): Promise<void> {
  const { error } = await new Migrator({ db, provider: migrations }).migrateToLatest();
  if (error !== undefined) throw error instanceof Error ? error : new Error('migration failed');
}

/**
 * Do several things, all of them or none. A full disk may have rolled back already, and SQLite then
 * refuses to do it again: what counts is the first failure.
 */
export async function inTransaction(
  db: Connection,
  work: (transaction: Connection) => Promise<void>,
): Promise<void> {
  const transaction = await db.startTransaction().execute();
  try {
    await work(transaction);
    await transaction.commit().execute();
  } catch (error) {
    await transaction
      .rollback()
      .execute()
      .catch(() => undefined);
    throw error;
  }
}
