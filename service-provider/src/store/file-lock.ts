import Embedded from 'libsql';

/** Kept until it is given back. */
export interface FileLock {
  release(): void;
}

/** A database without a file: nobody else can have it open. */
const IN_MEMORY = ':memory:';

/**
 * Keep a database file for this process, by a lock on a file of its own beside it: a backup may read
 * the database meanwhile. A process that ends, however it does, gives the lock back.
 * @throws the driver's error, `SQLITE_BUSY` where another process has it
 */
export function lockFile(file: string): FileLock {
  const lock = new Embedded(file === IN_MEMORY ? IN_MEMORY : `${file}.lock`);
  try {
    lock.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    lock.close();
    throw error;
  }
  return {
    release: () => {
      lock.exec('ROLLBACK');
      lock.close();
    },
  };
}
