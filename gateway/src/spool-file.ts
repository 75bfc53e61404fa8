/**
 * The file of a spool: an SQLite database with sealed samples and what is noted beside them, and a
 * lock beside it.
 */
import { existsSync } from 'node:fs';

import { duoveilError, isDuoveilError } from '@duoveil/common/errors';
import { lockFile, ownersOnly, type FileLock } from '@duoveil/common/runtime';
import Database from 'libsql';

import type { SpoolCipher, SpoolProgress } from './spool-cipher.js';

/** A sample as the file keeps it. */
export interface SealedSample {
  readonly sequence: number;
  readonly sealed: Uint8Array;
}

/** The form of the file; one without a number is of before samples were sealed. */
const VERSION = 1;

const PAGE_BYTES = 4096;

/** What is noted, as it stands in the file. One row. */
interface Notes extends SpoolProgress {
  readonly fingerprint: ArrayBuffer;
  readonly code: ArrayBuffer;
}

/** See the file's comment. All that it does is on disk when it returns, all of it or nothing. */
export class SpoolFile {
  /** What was noted when it was opened. */
  readonly progress: SpoolProgress;
  /** The first sample that it held when it was opened; undefined where it held none. */
  readonly oldest: number | undefined;
  readonly #path: string;
  readonly #cipher: SpoolCipher;
  readonly #lock: FileLock;
  readonly #db: Database.Database;
  readonly #statements: ReturnType<typeof prepare>;

  /**
   * Opens a spool's file, makes it where there is none, and locks it.
   * @param maxBytes the most bytes that it may have
   * @throws UNSEALING_FAILED for another key; SPOOL_DAMAGED; STORAGE_FAILED where another process has
   * it open, or it is no encrypted spool; STORAGE_FULL
   */
  constructor(path: string, cipher: SpoolCipher, maxBytes: number) {
    this.#path = path;
    this.#cipher = cipher;
    // Two streams for one patient would give the same sequence numbers to different ciphertexts.
    // The lock is a file of its own: the driver gives a database's own lock back late.
    this.#lock = storing(path, () => lockFile(path));
    let db: Database.Database | undefined;
    try {
      const opened = (db = storing(path, () => new Database(ownersOnly(path))));
      this.#db = opened;
      this.#statements = storing(path, () => {
        setUp(path, opened, cipher, maxBytes);
        return prepare(opened);
      });
      this.progress = storing(path, () => readProgress(path, this.#statements.progress, cipher));
      this.oldest = storing(path, () => readOldest(this.#statements.oldest));
    } catch (error) {
      db?.close();
      this.#lock.release();
      throw isDuoveilError(error, 'STORAGE_FAILED') ? named(path, cipher, error) : error;
    }
  }

  /** Keeps samples and notes; the samples up to and including `dropped` go. */
  put(samples: readonly SealedSample[], progress: SpoolProgress, dropped: number): void {
    this.#transaction(() => {
      this.#statements.drop.run(dropped);
      this.#note(progress);
      for (const { sequence, sealed } of samples) this.#statements.insert.run(sequence, sealed);
    });
  }

  /** Keeps notes; the samples up to and including `dropped` go. */
  note(progress: SpoolProgress, dropped: number): void {
    this.put([], progress, dropped);
  }

  /** Keeps notes; all samples go. */
  clear(progress: SpoolProgress): void {
    this.#transaction(() => {
      this.#statements.clear.run();
      this.#note(progress);
    });
  }

  /**
   * The samples of consecutive sequence numbers, as many as can be read before the first that cannot.
   * @throws SPOOL_DAMAGED where that is the first of them
   */
  read(sequence: number, count: number): Buffer[] {
    const samples: Buffer[] = [];
    for (let next = sequence; next < sequence + count; next += 1) {
      const bytes = readSample(this.#statements.sample, this.#cipher, next);
      if (bytes === undefined) {
        if (samples.length > 0) break;
        throw damaged(this.#path, next);
      }
      samples.push(bytes);
    }
    return samples;
  }

  /** Lets go of the file and its lock. */
  close(): void {
    this.#db.close();
    this.#lock.release();
  }

  #note(progress: SpoolProgress): void {
    const { acknowledged, last, recording, measuredAt } = progress;
    const code = this.#cipher.authenticate(progress);
    this.#statements.note.run(acknowledged, last, recording, measuredAt, code);
  }

  // The driver's own transactions hide a full disk behind a failed rollback.
  #transaction(work: () => void): void {
    storing(this.#path, () => {
      this.#db.exec('BEGIN IMMEDIATE');
      try {
        work();
        this.#db.exec('COMMIT');
      } catch (error) {
        if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
        throw error;
      }
    });
  }
}

/** What {@link peekProgress} finds. */
export interface PeekedProgress extends SpoolProgress {
  /** How many samples are acknowledged and still here. */
  readonly kept: number;
}

/**
 * What a spool's file notes, without its key and also while a stream has it open; undefined where
 * there is none. Nothing vouches for it.
 * @throws STORAGE_FAILED
 */
export function peekProgress(path: string): PeekedProgress | undefined {
  if (!existsSync(path)) return undefined;
  return storing(path, () => {
    const db = new Database(path);
    try {
      db.pragma(`busy_timeout = ${BUSY_MS}`);
      requireEncrypted(path, db);
      const { acknowledged, last, recording, measuredAt } = db
        .prepare('SELECT acknowledged, last, recording, measured_at AS measuredAt FROM progress')
        .get() as SpoolProgress;
      const oldest = readOldest(db.prepare(OLDEST)) ?? last + 1;
      const kept = Math.max(0, acknowledged + 1 - oldest);
      return { acknowledged, last, recording, measuredAt, kept };
    } finally {
      db.close();
    }
  });
}

/** How long to wait for another process that looks at the file. */
const BUSY_MS = 5000;

function setUp(path: string, db: Database.Database, cipher: SpoolCipher, maxBytes: number): void {
  db.pragma(`busy_timeout = ${BUSY_MS}`);
  requireEncrypted(path, db);
  // Everything is in the one file once it is committed, so that an end which is missing is noticed: of a
  // write-ahead log SQLite would leave it out without a word.
  db.pragma('journal_mode = TRUNCATE');
  // Every commit is flushed to disk: what is confirmed survives a power cut.
  db.pragma('synchronous = FULL');
  db.pragma(`max_page_count = ${Math.floor(maxBytes / PAGE_BYTES)}`);
  if (!hasTables(db)) makeTables(db, cipher);
}

function makeTables(db: Database.Database, cipher: SpoolCipher): void {
  const empty = { acknowledged: 0, last: 0, recording: null, measuredAt: null };
  db.exec('BEGIN IMMEDIATE');
  db.exec(`
    CREATE TABLE progress (
      id INTEGER PRIMARY KEY CHECK (id = 1), fingerprint BLOB NOT NULL, acknowledged INTEGER NOT NULL,
      last INTEGER NOT NULL, recording TEXT, measured_at INTEGER, code BLOB NOT NULL
    ) STRICT;
    CREATE TABLE samples (sequence INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
    PRAGMA user_version = ${VERSION};
  `);
  db.prepare('INSERT INTO progress VALUES (1, ?, 0, 0, NULL, NULL, ?)').run(
    cipher.fingerprint,
    cipher.authenticate(empty),
  );
  db.exec('COMMIT');
}

function hasTables(db: Database.Database): boolean {
  return db.prepare('SELECT name FROM sqlite_schema').all().length > 0;
}

function requireEncrypted(path: string, db: Database.Database): void {
  const [row] = db.pragma('user_version') as { readonly user_version: number }[];
  if (row?.user_version === VERSION || !hasTables(db)) return;
  throw duoveilError(
    'STORAGE_FAILED',
    `${path}: is not an encrypted spool, so it is not used; move it away and start again`,
  );
}

const OLDEST = 'SELECT min(sequence) AS oldest FROM samples';

function readOldest(statement: Database.Statement): number | undefined {
  const { oldest } = statement.get() as { readonly oldest: number | null };
  return oldest ?? undefined;
}

function prepare(db: Database.Database) {
  return {
    progress: db.prepare(
      'SELECT fingerprint, acknowledged, last, recording, measured_at AS measuredAt, code FROM progress',
    ),
    sample: db.prepare('SELECT sealed FROM samples WHERE sequence = ?'),
    insert: db.prepare('INSERT INTO samples VALUES (?, ?)'),
    clear: db.prepare('DELETE FROM samples'),
    oldest: db.prepare(OLDEST),
    drop: db.prepare('DELETE FROM samples WHERE sequence <= ?'),
    note: db.prepare(
      'UPDATE progress SET acknowledged = ?, last = ?, recording = ?, measured_at = ?, code = ?',
    ),
  };
}

function readSample(
  statement: Database.Statement,
  cipher: SpoolCipher,
  sequence: number,
): Buffer | undefined {
  try {
    const row = statement.get(sequence) as { readonly sealed: ArrayBuffer } | undefined;
    return row === undefined ? undefined : cipher.open(sequence, Buffer.from(row.sealed));
  } catch {
    // Its page is unreadable.
    return undefined;
  }
}

function readProgress(
  path: string,
  statement: Database.Statement,
  cipher: SpoolCipher,
): SpoolProgress {
  const notes = statement.get() as Notes | undefined;
  if (notes === undefined) throw damaged(path, 1);
  const { acknowledged, last, recording, measuredAt } = notes;
  if (!cipher.fingerprint.equals(Buffer.from(notes.fingerprint))) {
    throw duoveilError(
      'UNSEALING_FAILED',
      `${path}: was sealed with another spool key, or for another patient: restore the spool-key.json ` +
        'that belongs to it, or move both away and start again without the samples that wait in it',
    );
  }
  const progress = { acknowledged, last, recording, measuredAt };
  if (!cipher.isAuthentic(progress, Buffer.from(notes.code))) throw damaged(path, 1);
  return progress;
}

/** Why a file cannot be used: which sample is the first that is not there, where that can be found out. */
function named(path: string, cipher: SpoolCipher, error: Error): Error {
  try {
    const db = new Database(path);
    try {
      // Else SQLite does not look into a file that is shorter than it was.
      db.pragma('writable_schema = ON');
      const { progress: read, sample } = prepare(db);
      const progress = readProgress(path, read, cipher);
      for (let next = progress.acknowledged + 1; next <= progress.last; next += 1) {
        if (readSample(sample, cipher, next) === undefined) return damaged(path, next);
      }
    } finally {
      db.close();
    }
  } catch {
    // Not even what is noted can be read.
  }
  return error;
}

function damaged(path: string, sequence: number): Error {
  return duoveilError(
    'SPOOL_DAMAGED',
    `${path}: sample ${sequence} is damaged or gone, and cannot be sent; no later one is sent before it. ` +
      'Move the file away and start again: a recording is read again, live readings from there on are lost',
    { sequence: BigInt(sequence) },
  );
}

function storing<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (isDuoveilError(cause)) throw cause;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    if (isDiskFull(code, cause)) {
      const message = `${path}: the disk is full: free some space; nothing is lost`;
      throw duoveilError('STORAGE_FULL', message, {}, { cause });
    }
    const why = code.startsWith('SQLITE_BUSY')
      ? 'in use; is another stream running with this state directory?'
      : `cannot be used as a spool (${code || 'unknown reason'})`;
    throw duoveilError('STORAGE_FAILED', `${path}: ${why}`, {}, { cause });
  }
}

/** SQLite says so itself, or a write of its journal fails where the file system notices late. */
function isDiskFull(code: string, error: unknown): boolean {
  return (
    code === 'SQLITE_FULL' ||
    code.startsWith('SQLITE_IOERR_WRITE') ||
    (error instanceof Error && /disk is full|no space left/i.test(error.message))
  );
}
