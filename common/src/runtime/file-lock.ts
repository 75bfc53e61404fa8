import { closeSync, openSync } from 'node:fs';

import Embedded from 'libsql';

/** Kept until it is given back. */
export interface FileLock {
  release(): void;
}

/** A database without a file: nobody else can have it open. */
const IN_MEMORY = ':memory:';

/**
 * Keep a database file, or a directory's files, for this process, by a lock on a file of its own beside
 * it: a backup may read them meanwhile. A process that ends, however it does, gives the lock back.
 * @param file what is locked, for which `<file>.lock` is made; `:memory:` is its own lock
 * @throws the driver's error, `SQLITE_BUSY` where another process has it
 */
export function lockFile(file: string): FileLock {
  const path = file === IN_MEMORY ? IN_MEMORY : ownersOnly(`${file}.lock`);
  const lock = new Embedded(path);
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

/**
 * Make a file that its owner alone may read, unless it is there: the driver would make it for everybody.
 * What the driver makes beside it has the same permissions.
 * @returns its path; where it cannot be made the driver will say so
 */
export function ownersOnly(path: string): string {
  try {
    closeSync(openSync(path, 'a', 0o600));
  } catch {
    // The driver's errors are those that its users know.
  }
  return path;
}
