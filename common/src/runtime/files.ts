import { randomUUID } from 'node:crypto';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { z } from 'zod';
import { duoveilError } from '../errors.js';

/** The code of a system error (`ENOENT`, ..), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Writes a file so that a reader, or the machine after a crash, sees all of it or the previous one:
 * a temporary file beside it, flushed to disk, renamed, and the directory flushed too.
 * @param mode permission bits; by default for the owner only
 * @throws STORAGE_FULL, STORAGE_FAILED
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  mode = 0o600,
): Promise<void> {
  await writeAndPlace(path, data, mode, (temporary) => rename(temporary, path));
}

/**
 * The same for a file that must not be there yet: nobody's is overwritten, whoever writes at the same time.
 * @throws STORAGE_FAILED where it is there; STORAGE_FULL
 */
export async function writeNewFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  await writeAndPlace(path, data, 0o600, async (temporary) => {
    await link(temporary, path);
    await rm(temporary);
  });
}

async function writeAndPlace(
  path: string,
  data: string | Uint8Array,
  mode: number,
  place: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    // Exclusive, and with the mode from the first byte on: a key is never readable to others.
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(data);
      // The process's umask may have narrowed what was asked for.
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await place(temporary);
    await syncDirectory(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true });
    throw storageError(error, `cannot write ${path}`);
  }
}

/** Flushes a directory: what was made, renamed or removed in it is then on disk. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** A failed file operation as an error of ours: `STORAGE_FULL` where the disk is, else `STORAGE_FAILED`. */
export function storageError(error: unknown, what: string): Error {
  const code = systemErrorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return duoveilError('STORAGE_FULL', `${what}: the disk is full`, {}, { cause: error });
  }
  return duoveilError('STORAGE_FAILED', `${what}: ${code ?? 'failed'}`, {}, { cause: error });
}

/**
 * Reads a file that a setting names.
 * @param setting the setting's key, for the error
 * @throws CONFIG_INVALID where it is missing or not readable
 */
export async function readSettingFile(path: string, setting: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const code = systemErrorCode(error);
    const why = code === 'ENOENT' ? 'no such file' : `not readable (${code ?? 'unknown reason'})`;
    throw duoveilError(
      'CONFIG_INVALID',
      `${setting}: ${path}: ${why}`,
      { path: setting },
      { cause: error },
    );
  }
}

/**
 * Reads a JSON file and checks its form.
 * @param setting the setting that names the file, for the error
 * @throws CONFIG_INVALID with the key within the file that is wrong
 */
export async function readJsonFile<S extends z.ZodType>(
  path: string,
  schema: S,
  setting: string,
): Promise<z.output<S>> {
  const text = (await readSettingFile(path, setting)).toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message would quote the file, which may hold a secret.
    throw duoveilError('CONFIG_INVALID', `${setting}: ${path} is not JSON`, { path: setting });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = firstIssue(result.error);
  throw duoveilError('CONFIG_INVALID', `${path}: ${issue.path || 'content'}: ${issue.message}`, {
    path: issue.path || setting,
  });
}

/** The first thing a schema found wrong: the key, dotted, and what would be right. */
export function firstIssue(error: z.ZodError): { readonly path: string; readonly message: string } {
  const [issue] = error.issues;
  return {
    path: issue?.path.map(String).join('.') ?? '',
    message: issue?.message ?? 'not valid',
  };
}
