import { access } from 'node:fs/promises';
import { join } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import { lockFile, storageError, systemErrorCode, type FileLock } from '@duoveil/common/runtime';

/**
 * Keep a state directory for this process: two CSPs on one would break the chain of its audit log and
 * count its budgets twice. A process that ends, however it does, gives it back.
 * @throws DuoveilError `CONFIG_INVALID` where there is no such directory; `STORAGE_FAILED` where another
 * process has it, or it cannot be written to
 */
export async function lockState(directory: string): Promise<FileLock> {
  await access(directory).catch((error: unknown) => {
    const why = `not readable (${systemErrorCode(error) ?? 'unknown reason'})`;
    throw duoveilError(
      'CONFIG_INVALID',
      `--state: ${directory}: ${systemErrorCode(error) === 'ENOENT' ? 'no such directory' : why}`,
      { path: '--state' },
      { cause: error },
    );
  });
  try {
    return lockFile(join(directory, 'custody'));
  } catch (error) {
    if (systemErrorCode(error)?.startsWith('SQLITE_BUSY') !== true) {
      throw storageError(error, `cannot lock ${directory}`);
    }
    throw duoveilError(
      'STORAGE_FAILED',
      `--state: ${directory} is in use; is another CSP running on it? A replica has a directory of its own`,
      {},
      { cause: error },
    );
  }
}
