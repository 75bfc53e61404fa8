import { z } from 'zod';

import { duoveilError } from '@duoveil/common/errors';
import { secretSetting, serverSettings } from '@duoveil/common/runtime';

import { keepStoreKey, parsePostgresUrl, parseStoreKey } from './store/index.js';
import type { StoreOptions } from './store/index.js';

/** Settings of the service provider: by flag, environment (`DUOVEIL_…`) or YAML file. */
export const spSettings = z.strictObject({
  ...serverSettings,
  /** Address of the crypto service provider. */
  csp: z.string().min(1).describe('host:port of the crypto service provider'),
  /** Digest of the public parameters, as `duoveil csp init` printed it. */
  parametersDigest: z.string().min(1).describe('digest of the parameters, from "duoveil csp init"'),
  /** Distances say more than levels: they are learnt only where somebody decided so. */
  allowDistance: z
    .boolean()
    .default(false)
    .describe('accept patients with distance output or the reference suite'),
  /** The store's file, for one service provider alone. */
  database: z
    .string()
    .min(1)
    .optional()
    .describe('file of the embedded database; made if it is not there'),
  /** A store that several service providers may share. */
  databaseUrl: z
    .string()
    .min(1)
    .optional()
    .describe('PostgreSQL in place of the file: postgres://user@host:port/database'),
  databasePassword: secretSetting('file of the password for PostgreSQL').optional(),
  /** Seals what the database must not tell. */
  storeKey: secretSetting('file of the key that seals decisions and models').optional(),
  leaseMs: z
    .int()
    .min(300)
    .max(60_000)
    .default(3_000)
    .describe('how long a patient stays with a service provider that is gone, in milliseconds'),
});

export type SpSettings = z.output<typeof spSettings>;

/**
 * Where the store is, and what seals it. An embedded database that was given no key keeps one of its
 * own beside it.
 * @throws DuoveilError `OPTION_INVALID`, `CONFIG_INVALID`, `UNSEALING_FAILED`, `STORAGE_FAILED`
 */
export async function storeSettings(
  settings: SpSettings,
): Promise<Pick<StoreOptions, 'location' | 'key' | 'leaseMs'>> {
  const { database, databaseUrl, databasePassword, storeKey, leaseMs } = settings;
  if ((database === undefined) === (databaseUrl === undefined)) {
    throw duoveilError(
      'OPTION_INVALID',
      `one store is needed, not ${database === undefined ? 'none' : 'two'}: set --database or --database-url`,
      { option: '--database' },
    );
  }
  const given = storeKey && parseStoreKey(storeKey, 'storeKey');
  if (database !== undefined) {
    const key = given ?? (await keepStoreKey(database));
    return { location: { kind: 'file', file: database }, key, leaseMs };
  }
  if (given === undefined) {
    throw duoveilError(
      'OPTION_INVALID',
      'a store on PostgreSQL needs a store key, the same for all replicas: set --store-key-file or DUOVEIL_STORE_KEY',
      { option: '--store-key-file' },
    );
  }
  const address = { ...parsePostgresUrl(databaseUrl ?? ''), password: databasePassword };
  return { location: { kind: 'postgres', address }, key: given, leaseMs };
}
