import { Kysely, Migrator, SqliteDialect, type SqliteDatabase, type SqliteStatement } from 'kysely';
import Database from 'libsql';

import { duoveilError, isDuoveilError } from '@duoveil/common/errors';

import { migrations } from './migrations.js';
import type { Tables } from './tables.js';

/** A connection to the store. */
export type Connection = Kysely<Tables>;

/**
 * Open (or create) the store in one SQLite file and bring it to the current layout.
 *
 * A committed transaction is on disk: write-ahead log with `synchronous = FULL`, which calls fsync
 * on every commit. The file is locked for as long as it is open, so that a second service provider
 * on the same file is refused instead of deciding the same samples again.
 * @throws DuoveilError `STORAGE_FAILED`, `STORAGE_FULL`
 */
export async function openDatabase(file: string): Promise<Connection> {
  return storing(async () => {
    const database = new Database(file);
    database.pragma('locking_mode = EXCLUSIVE');
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.pragma('foreign_keys = ON');
    const connection = new Kysely<Tables>({
      dialect: new SqliteDialect({ database: keepingStatements(database) }),
    });
    const { error } = await new Migrator({
      db: connection,
      provider: migrations,
    }).migrateToLatest();
    if (error !== undefined) {
      await connection.destroy();
      throw error instanceof Error ? error : new Error('migration failed');
    }
    return connection;
  });
}

/** Statements that are kept at most: the store has some twenty. */
const STATEMENTS = 128;

/** The same database, with statements that are prepared once and not again for every query. */
function keepingStatements(database: Database.Database): SqliteDatabase {
  const statements = new Map<string, SqliteStatement>();
  return {
    prepare: (text) => {
      let statement = statements.get(text);
      if (statement === undefined) {
        statement = database.prepare(text);
        if (statements.size < STATEMENTS) statements.set(text, statement);
      }
      return statement;
    },
    close: () => {
      statements.clear();
      database.close();
    },
  };
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

/**
 * Run something against the store and raise what goes wrong as an error of ours.
 * @throws DuoveilError `STORAGE_FULL` where the disk is full, `STORAGE_FAILED` otherwise
 */
export async function storing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (isDuoveilError(cause)) throw cause;
    if (isDiskFull(cause)) {
      throw duoveilError(
        'STORAGE_FULL',
        'the disk of the service provider is full: free some space; nothing acknowledged is lost',
        {},
        { cause },
      );
    }
    throw duoveilError('STORAGE_FAILED', `the store failed${hintFor(cause)}`, {}, { cause });
  }
}

/** What somebody can do about it, where there is something. */
function hintFor(error: unknown): string {
  const code = codeOf(error);
  if (code === 'SQLITE_BUSY') {
    return ': it is in use; is another service provider running on the same file?';
  }
  if (code === 'SQLITE_NOTADB') return ': its file is no database';
  // The driver has no code for this.
  if (error instanceof Error && error.message.includes('Unable to open')) {
    return ': its file cannot be opened; is its directory there, and may it be written to?';
  }
  return '';
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/**
 * SQLite reports a full disk as SQLITE_FULL, or as a failed write of its log (some extended code of
 * SQLITE_IOERR) where the file system says so only when the pages are written.
 */
function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = codeOf(error);
  return (
    code === 'SQLITE_FULL' ||
    code === 'ENOSPC' ||
    code.startsWith('SQLITE_IOERR_WRITE') ||
    /database or disk is full|no space left/i.test(error.message)
  );
}
