import { Kysely, sql, SqliteDialect, type SqliteDatabase, type SqliteStatement } from 'kysely';
import Embedded from 'libsql';

import { migrate, type Database } from './database.js';
import { storing } from './failures.js';
import type { Tables } from './tables.js';

/**
 * Open (or create) a database in one SQLite file and bring it to the current layout.
 *
 * A committed transaction is on disk: write-ahead log with `synchronous = FULL`, which calls fsync
 * on every commit. The file is locked for as long as it is open, so that a second service provider
 * on the same file is refused: there is nobody to announce anything to, and nobody to hear from.
 * @throws DuoveilError `STORAGE_FAILED`, `STORAGE_FULL`
 */
export async function openSqlite(file: string): Promise<Database> {
  return storing(async () => {
    const embedded = new Embedded(file);
    embedded.pragma('locking_mode = EXCLUSIVE');
    embedded.pragma('journal_mode = WAL');
    embedded.pragma('synchronous = FULL');
    embedded.pragma('foreign_keys = ON');
    const dialect = new SqliteDialect({ database: keepingStatements(embedded) });
    const db = new Kysely<Tables>({ dialect });
    try {
      await migrate(db);
    } catch (error) {
      await db.destroy();
      throw error;
    }
    return {
      db,
      shared: false,
      nowMs: sql<number>`cast((julianday('now') - 2440587.5) * 86400000 as integer)`,
      announce: () => Promise.resolve(),
      listen: () => undefined,
      close: () => db.destroy(),
    };
  });
}

/** Statements that are kept at most: the store has some thirty. */
const STATEMENTS = 128;

/** The same database, with statements that are prepared once and not again for every query. */
function keepingStatements(database: Embedded.Database): SqliteDatabase {
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
