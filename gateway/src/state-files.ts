/** Where things are in a state directory: one directory a patient, for its owner alone. */
import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { storageError, systemErrorCode } from '@duoveil/common/runtime';

/** The files of a state directory. */
export interface StateFiles {
  /** The enrolment; nothing in it is secret. */
  readonly gateway: string;
  /** The patient's secret key, sealed. */
  readonly secretKey: string;
  /** The key of the spool, sealed. */
  readonly spoolKey: string;
  /** Samples on their way, encrypted. */
  readonly spool: string;
}

/** The files of a state directory. */
export function stateFiles(directory: string): StateFiles {
  return {
    gateway: join(directory, 'gateway.json'),
    secretKey: join(directory, 'secret-key.json'),
    spoolKey: join(directory, 'spool-key.json'),
    spool: join(directory, 'spool.db'),
  };
}

/**
 * Makes a directory for its owner alone; nothing where it is there.
 * @throws STORAGE_FULL, STORAGE_FAILED
 */
export async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw storageError(error, `cannot make the directory ${directory}`);
  }
}

/**
 * Is there a file?
 * @throws STORAGE_FAILED where that cannot be found out
 */
export async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw storageError(error, `cannot read ${path}`);
  }
}
