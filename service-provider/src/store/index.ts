import type { PublicParameters } from '@duoveil/common/bcp';
import { systemRandom } from '@duoveil/common/random';
import type { Secret } from '@duoveil/common/secret';

import type { Database, SnapshotSource } from './database.js';
import { openPostgres, readPostgres, type PostgresOptions } from './postgres.js';
import { StoreSeal } from './seal.js';
import { openSqlite, readSqlite } from './sqlite.js';
import { storeOver, type Store } from './store.js';

export type { ChangedBook, KeptBook } from './books.js';
export { packCiphertexts, unpackCiphertexts } from './blobs.js';
export type { News } from './database.js';
export type { Decision, TimedDecision } from './decisions.js';
export { elsewhere } from './leases.js';
export type { Lease } from './leases.js';
export type { StoredModel, TrainingNotice, TrainingReason, TrainingRecord } from './models.js';
export { isAccepted } from './outcomes.js';
export type { Outcome } from './outcomes.js';
export type { Patient } from './patients.js';
export { parsePostgresUrl } from './postgres-url.js';
export type { SampleTimes, StoredSample, TimedSample } from './samples.js';
export type { Store } from './store.js';
export { keepStoreKey, parseStoreKey, storeKeyFile } from './store-key.js';

/** Where the store is: a file of this process alone, or a PostgreSQL that replicas may share. */
export type StoreLocation =
  | { readonly kind: 'file'; readonly file: string }
  | { readonly kind: 'postgres'; readonly address: PostgresOptions };

/** How a store is opened. */
export interface StoreOptions {
  readonly location: StoreLocation;
  readonly parameters: PublicParameters;
  /** Seals what the database must not tell. */
  readonly key: Secret<Uint8Array>;
  /** How long a lease lasts that is not renewed, in milliseconds. */
  readonly leaseMs: number;
}

/**
 * Open the database of a store, and bring it to the current layout.
 * @throws DuoveilError `STORAGE_FAILED`, `STORAGE_FULL`, `STORAGE_UNAVAILABLE`
 */
export function openDatabase(location: StoreLocation): Promise<Database> {
  return location.kind === 'file' ? openSqlite(location.file) : openPostgres(location.address);
}

/**
 * Open the database of a store to read it as it is, while service providers may have it open.
 * @throws DuoveilError `STORAGE_FAILED`, `STORAGE_UNAVAILABLE`
 */
export async function readStore(location: StoreLocation): Promise<SnapshotSource> {
  return location.kind === 'file' ? readSqlite(location.file) : readPostgres(location.address);
}

/**
 * Open the store.
 * @throws DuoveilError `STORAGE_FAILED`, `STORAGE_FULL`, `STORAGE_UNAVAILABLE`, `PARAMETERS_MISMATCH`;
 * `UNSEALING_FAILED` where the store was made with another key
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { location, parameters, key, leaseMs } = options;
  const database = await openDatabase(location);
  try {
    return await storeOver(database, parameters, new StoreSeal(key, systemRandom), leaseMs);
  } catch (error) {
    await database.close();
    throw error;
  }
}
