/**
 * Samples that are encrypted but not acknowledged, on disk before they are sent: each is encrypted
 * once, survives a crash, and is sent again, if need be, in the very same bytes.
 */
import { duoveilError } from '@duoveil/common/errors';
import { Bell } from '@duoveil/common/runtime';
import Database from 'libsql';

/** A sample in the form in which it is sent. */
export interface SpooledSample {
  /** Its place in the patient's series, from 1. */
  readonly sequence: number;
  /** The whole message, as it goes on the wire. */
  readonly bytes: Uint8Array;
}

/** Bounds of a spool. */
export interface SpoolOptions {
  /** The most samples it holds; by default 1,024. */
  readonly capacity?: number;
  /** The most bytes its file may have; by default as many as the disk has. */
  readonly maxBytes?: number;
}

/** Acknowledgements that are not on disk yet: losing them costs no more than sending again. */
const ACKNOWLEDGEMENTS_IN_MEMORY = 64;

/** What is kept beside the samples. One row. */
interface Progress {
  readonly acknowledged: number;
  readonly recording: string | null;
}

/** A spool: consecutive samples, the oldest of them acknowledged first. */
export class Spool {
  readonly capacity: number;
  readonly #file: string;
  readonly #lock: Database.Database;
  readonly #db: Database.Database;
  readonly #statements: ReturnType<typeof prepare>;
  readonly #bell = new Bell();
  #acknowledged: number;
  #acknowledgedOnDisk: number;
  #last: number;
  #recording: string | undefined;

  /**
   * Opens a spool; makes it where there is none. It is locked for as long as it is open.
   * @throws STORAGE_FAILED (also where another process has it open), STORAGE_FULL
   */
  static open(file: string, options: SpoolOptions = {}): Spool {
    return storing(file, () => {
      // Two streams for one patient would give the same sequence numbers to different ciphertexts.
      // The lock is a file of its own: the driver gives a database's own lock back late.
      const lock = new Database(`${file}.lock`);
      lock.exec('BEGIN EXCLUSIVE');
      try {
        return new Spool(file, lock, options);
      } catch (error) {
        release(lock);
        throw error;
      }
    });
  }

  private constructor(
    file: string,
    lock: Database.Database,
    { capacity = 1024, maxBytes }: SpoolOptions,
  ) {
    this.capacity = capacity;
    this.#file = file;
    this.#lock = lock;
    this.#db = openDatabase(file, maxBytes);
    this.#statements = prepare(this.#db);
    const { acknowledged, recording } = this.#statements.progress.get() as Progress;
    const { last } = this.#statements.last.get() as { readonly last: number | null };
    this.#acknowledged = this.#acknowledgedOnDisk = acknowledged;
    this.#last = Math.max(acknowledged, last ?? 0);
    this.#recording = recording ?? undefined;
  }

  /** Everything up to and including this sequence number is safe at the service provider; 0 at first. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** The last sequence number that was put here or is acknowledged; 0 at first. */
  get last(): number {
    return this.#last;
  }

  /** How many samples wait to be acknowledged. */
  get size(): number {
    return this.#last - this.#acknowledged;
  }

  /** Which recording the series comes from, as {@link beginRecording} was told. */
  get recording(): string | undefined {
    return this.#recording;
  }

  /** Notes which recording the series comes from. */
  beginRecording(recording: string): void {
    if (recording === this.#recording) return;
    storing(this.#file, () => {
      this.#statements.begin.run(recording);
    });
    this.#recording = recording;
  }

  /**
   * Puts the next samples, all of them or none; waits until there is room. When this resolves they
   * are on disk.
   * @throws STORAGE_FULL, STORAGE_FAILED: nothing was put, and what was there is still there; the
   * signal's reason once that is aborted
   */
  async put(samples: readonly SpooledSample[], signal?: AbortSignal): Promise<void> {
    if (samples.length > this.capacity) throw new RangeError('more samples than the spool holds');
    await this.#bell.until(() => this.size + samples.length <= this.capacity, signal);
    samples.forEach(({ sequence }, i) => {
      if (sequence !== this.#last + 1 + i) throw new RangeError('samples must be consecutive');
    });
    storing(this.#file, () => {
      this.#transaction(() => {
        this.#forgetAcknowledged();
        for (const { sequence, bytes } of samples) this.#statements.insert.run(sequence, bytes);
      });
    });
    this.#acknowledgedOnDisk = this.#acknowledged;
    this.#last += samples.length;
    this.#bell.ring();
  }

  /**
   * Forgets samples that the service provider has on disk, also where this spool never held them. A
   * number below what is acknowledged already changes nothing.
   */
  acknowledge(through: number): void {
    if (through <= this.#acknowledged) return;
    this.#acknowledged = through;
    this.#last = Math.max(this.#last, through);
    if (through - this.#acknowledgedOnDisk >= ACKNOWLEDGEMENTS_IN_MEMORY) this.#flush();
    this.#bell.ring();
  }

  /**
   * Takes acknowledgements back: the service provider has nothing above this number any more. What is
   * here goes too, for the samples are put again, from the next number on. On disk when this returns.
   * @throws STORAGE_FULL, STORAGE_FAILED: nothing has changed
   */
  rewind(through: number): void {
    if (through >= this.#acknowledged) return;
    storing(this.#file, () => {
      this.#transaction(() => {
        this.#statements.clear.run();
        this.#statements.acknowledge.run(through);
      });
    });
    this.#acknowledged = this.#acknowledgedOnDisk = this.#last = through;
  }

  /** Samples that wait to be acknowledged, from a sequence number on, in order, at most `limit`. */
  from(sequence: number, limit: number): SpooledSample[] {
    const rows = storing(this.#file, () =>
      this.#db
        .prepare(
          'SELECT sequence, bytes FROM samples WHERE sequence >= ? ORDER BY sequence LIMIT ?',
        )
        .all(Math.max(sequence, this.#acknowledged + 1), limit),
    ) as { readonly sequence: number; readonly bytes: ArrayBuffer }[];
    return rows.map((row) => ({ sequence: row.sequence, bytes: Buffer.from(row.bytes) }));
  }

  /** Waits until a sequence number has been put. */
  async waitFor(sequence: number, signal: AbortSignal): Promise<void> {
    await this.#bell.until(() => this.#last >= sequence, signal);
  }

  /** Writes down what was acknowledged, and closes. */
  close(): void {
    this.#flush();
    this.#db.close();
    release(this.#lock);
  }

  /** Where this fails, a later one makes up for it. */
  #flush(): void {
    if (this.#acknowledgedOnDisk === this.#acknowledged) return;
    try {
      this.#transaction(() => {
        this.#forgetAcknowledged();
      });
      this.#acknowledgedOnDisk = this.#acknowledged;
    } catch {
      // What is not written down is sent again: nothing is lost.
    }
  }

  #forgetAcknowledged(): void {
    this.#statements.forget.run(this.#acknowledged);
    this.#statements.acknowledge.run(this.#acknowledged);
  }

  // The driver's own transactions hide a full disk behind a failed rollback.
  #transaction(work: () => void): void {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      work();
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }
}

function release(lock: Database.Database): void {
  lock.exec('ROLLBACK');
  lock.close();
}

function openDatabase(file: string, maxBytes: number | undefined): Database.Database {
  const db = new Database(file);
  db.pragma('journal_mode = WAL');
  // Every commit is flushed to disk: what put() confirmed survives a power cut.
  db.pragma('synchronous = FULL');
  if (maxBytes !== undefined) db.pragma(`max_page_count = ${Math.ceil(maxBytes / 4096)}`);
  db.exec(`
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS samples (
      sequence INTEGER PRIMARY KEY, bytes BLOB NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS progress (
      id INTEGER PRIMARY KEY CHECK (id = 1), acknowledged INTEGER NOT NULL, recording TEXT
    ) STRICT;
    INSERT OR IGNORE INTO progress VALUES (1, 0, NULL);
    COMMIT;
  `);
  return db;
}

function prepare(db: Database.Database) {
  return {
    progress: db.prepare('SELECT acknowledged, recording FROM progress'),
    last: db.prepare('SELECT max(sequence) AS last FROM samples'),
    page: db.prepare(
      'SELECT sequence, bytes FROM samples WHERE sequence >= ? ORDER BY sequence LIMIT ?',
    ),
    insert: db.prepare('INSERT INTO samples VALUES (?, ?)'),
    clear: db.prepare('DELETE FROM samples'),
    forget: db.prepare('DELETE FROM samples WHERE sequence <= ?'),
    acknowledge: db.prepare('UPDATE progress SET acknowledged = ?'),
    begin: db.prepare('UPDATE progress SET recording = ?'),
  };
}

function storing<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof RangeError) throw cause;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    if (isDiskFull(code, cause)) {
      const message = `${file}: the disk is full: free some space and start again; nothing is lost`;
      throw duoveilError('STORAGE_FULL', message, {}, { cause });
    }
    const why = code.startsWith('SQLITE_BUSY')
      ? 'in use; is another stream running with this state directory?'
      : `cannot be used as a spool (${code || 'unknown reason'})`;
    throw duoveilError('STORAGE_FAILED', `${file}: ${why}`, {}, { cause });
  }
}

/** SQLite says so itself, or a write of its log fails where the file system notices late. */
function isDiskFull(code: string, error: unknown): boolean {
  return (
    code === 'SQLITE_FULL' ||
    code.startsWith('SQLITE_IOERR_WRITE') ||
    (error instanceof Error && /disk is full|no space left/i.test(error.message))
  );
}
