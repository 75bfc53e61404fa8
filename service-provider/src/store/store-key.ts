import { randomBytes } from 'node:crypto';
import { access, readFile } from 'node:fs/promises';

import { duoveilError } from '@duoveil/common/errors';
import { storageError, systemErrorCode, writeFileAtomic } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';

import { STORE_KEY_BYTES } from './seal.js';

/**
 * A store key from its text.
 * @param where names the source, for the error
 * @throws DuoveilError `CONFIG_INVALID`
 */
export function parseStoreKey(text: Secret<string>, where: string): Secret<Uint8Array> {
  const digits = text.reveal().trim();
  if (!/^[0-9a-fA-F]{64}$/.test(digits)) {
    throw duoveilError(
      'CONFIG_INVALID',
      `${where}: must hold 64 hexadecimal digits, for example from "openssl rand -hex 32"`,
      { path: where },
    );
  }
  return new Secret(new Uint8Array(Buffer.from(digits, 'hex')));
}

/** Where the key of an embedded database is, unless it was given. */
export function storeKeyFile(database: string): string {
  return `${database}.key`;
}

/**
 * The key of an embedded database that was given none: from the file beside it. With a new database
 * it is drawn, and on disk before the first value is sealed.
 * @throws DuoveilError `UNSEALING_FAILED` where there is a database and no key; `STORAGE_FAILED`,
 * `STORAGE_FULL`, `CONFIG_INVALID`
 */
export async function keepStoreKey(database: string): Promise<Secret<Uint8Array>> {
  const file = storeKeyFile(database);
  const text = await readIfThere(file);
  if (text !== undefined) return parseStoreKey(new Secret(text), file);
  if (await isThere(database)) {
    throw duoveilError(
      'UNSEALING_FAILED',
      `the store key is missing: give the one that ${database} was made with, or restore ${file}`,
    );
  }
  const key = randomBytes(STORE_KEY_BYTES);
  await writeFileAtomic(file, `${key.toString('hex')}\n`);
  return new Secret(new Uint8Array(key));
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw storageError(error, `cannot read ${file}`);
  }
}

async function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
