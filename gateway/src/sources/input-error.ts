import { duoveilError } from '@duoveil/common/errors';
import { systemErrorCode } from '@duoveil/common/runtime';

/** The error for a source that is not what it should be. */
export function inputError(source: string, problem: string, cause?: unknown): Error {
  return duoveilError('INPUT_INVALID', `${source}: ${problem}`, { source }, { cause });
}

/** A failure to read a file as an error about that file; what is not about the file stays what it is. */
export function fileError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('syscall' in error)) return error;
  switch (systemErrorCode(error)) {
    case undefined:
      return error;
    case 'ENOENT':
    case 'ENOTDIR':
      return inputError(path, 'there is no such file', error);
    case 'EISDIR':
      return inputError(path, 'is a directory; name a file in it', error);
    case 'EACCES':
    case 'EPERM':
      return inputError(path, 'may not be read: permission is denied', error);
    default:
      return inputError(path, 'cannot be read', error);
  }
}
