import { access } from 'node:fs/promises';

import { Kysely, sql, SqliteDialect, type SqliteDatabase, type SqliteStatement } from 'kysely';
import Embedded from 'libsql';

import { lockFile, ownersOnly, storageError } from '@duoveil/common/runtime';

import { inTransaction, migrate, type Database, type SnapshotSource } from './database.js';
import { storing } from './failures.js';
import type { Tables } from './tables.js';

/** How long to wait for somebody who opens or closes the same file, in milliseconds. */
const BUSY_MS = 5_000;

const IN_MEMORY = ':memory:';

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
    const lock = lockFile(file);
    let db: Kysely<Tables> | undefined;
    try {
      db = connectTo(file === IN_MEMORY ? file : ownersOnly(file));
      await migrate(db);
    } catch (error) {
      await db?.destroy();
      lock.release();
      throw error;
    }
    const opened = db;
    return {
      db: opened,
      shared: false,
      nowMs: sql<number>`cast((julianday('now') - 2440587.5) * 86400000 as integer)`,
      announce: () => Promise.resolve(),
      listen: () => undefined,
      close: async () => {
        await opened.destroy();
        lock.release();
      },
    };
  });
}

/**
 * Open a database file that is there, to read it while a service provider may have it open.
 * @throws DuoveilError `STORAGE_FAILED`
 */
export async function readSqlite(file: string): Promise<SnapshotSource> {
  await access(file).catch((error: unknown) => {
    throw storageError(error, `cannot read ${file}`);
  });
  const db = await storing(() => Promise.resolve(connectTo(file)));
  return {
    // The first statement of a transaction fixes what all of it see.
    snapshot: (read) => storing(() => inTransaction(db, read)),
    close: () => db.destroy(),
  };
}

function connectTo(file: string): Kysely<Tables> {
  const embedded = new Embedded(file);
  embedded.pragma(`busy_timeout = ${String(BUSY_MS)}`);
  embedded.pragma('journal_mode = WAL');
  embedded.pragma('synchronous = FULL');
  embedded.pragma('foreign_keys = ON');
  return new Kysely<Tables>({
    dialect: new SqliteDialect({ database: keepingStatements(embedded) }),
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
