import { duoveilError, isDuoveilError } from '@duoveil/common/errors';

/**
 * Run something against the store and raise what goes wrong as an error of ours.
 * @throws DuoveilError `STORAGE_FULL` where the disk is full; `STORAGE_UNAVAILABLE` where the
 * database cannot be reached, or gave up, for the moment; `STORAGE_FAILED` otherwise
 */
export async function storing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw storageFailure(cause);
  }
}

function storageFailure(cause: unknown): Error {
  if (isDuoveilError(cause)) return cause;
  if (isDiskFull(cause)) {
    return duoveilError(
      'STORAGE_FULL',
      'the disk of the service provider is full: free some space; nothing acknowledged is lost',
      {},
      { cause },
    );
  }
  if (isPassing(cause)) {
    return duoveilError(
      'STORAGE_UNAVAILABLE',
      'the database does not answer at the moment: is it running, and is its address right?',
      {},
      { cause },
    );
  }
  return duoveilError('STORAGE_FAILED', `the store failed${hintFor(cause)}`, {}, { cause });
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
  if (code.startsWith('28')) return ': the database does not accept this user, or the password';
  if (code === '3D000') return ': there is no database of this name';
  if (code === '42501') return ': this user may not do that in the database';
  if (/certificate|SSL|TLS/i.test(messageOf(error))) {
    return ': no secure connection to the database; see sslmode and sslrootcert in its URL';
  }
  return '';
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : '';
}

/**
 * SQLite reports a full disk as SQLITE_FULL, or as a failed write of its log (some extended code of
 * SQLITE_IOERR) where the file system says so only when the pages are written; PostgreSQL as 53100.
 */
function isDiskFull(error: unknown): boolean {
  const code = codeOf(error);
  return (
    code === 'SQLITE_FULL' ||
    code === 'ENOSPC' ||
    code === '53100' ||
    code.startsWith('SQLITE_IOERR_WRITE') ||
    /database or disk is full|no space left/i.test(messageOf(error))
  );
}

/** SQLSTATE classes: connection, transaction rolled back, resources, and the operator's intervention. */
const PASSING_STATES = /^(08|40|53|57)[0-9A-Z]{3}$/;

/** A transaction that was idle too long, and a lock that was not to be had. */
const PASSING_CODES = new Set([
  ...['25P03', '55P03'],
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'],
  ...['ENOTFOUND', 'EAI_AGAIN', 'ENOENT'],
]);

/** The driver has no code for these. */
const PASSING_MESSAGES =
  /connection terminated|timeout exceeded when trying to connect|query read timeout|not queryable|connection ended/i;

/** Would it do to try again? A connection that was cut may have been cut before or after the commit. */
function isPassing(error: unknown): boolean {
  const code = codeOf(error);
  return (
    PASSING_STATES.test(code) || PASSING_CODES.has(code) || PASSING_MESSAGES.test(messageOf(error))
  );
}
