/** The databases that a store may be on, for tests that hold for all of them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';

import type { Database } from '../../../service-provider/src/store/database.js';
import { openDatabase, parsePostgresUrl } from '../../../service-provider/src/store/index.js';
import type { StoreLocation } from '../../../service-provider/src/store/index.js';
import { Postgres } from '../../src/parties/postgres.js';

/** Makes databases of one kind. */
export interface Databases {
  /** A new and empty one. */
  readonly create: () => Promise<StoreLocation>;
  readonly stop: () => Promise<void>;
}

/** A kind of database. */
export interface DatabaseKind {
  /** With the reason, where it is not there. */
  readonly name: string;
  readonly available: boolean;
  readonly start: () => Promise<Databases>;
}

/** Where a URL points to, as a store's location. */
export function locationOf(url: string): StoreLocation {
  return { kind: 'postgres', address: parsePostgresUrl(url) };
}

async function files(): Promise<Databases> {
  const directory = await mkdtemp(join(tmpdir(), 'duoveil-store-'));
  let count = 0;
  return {
    create: () => Promise.resolve({ kind: 'file', file: join(directory, `${(count += 1)}.db`) }),
    stop: () => rm(directory, { recursive: true }),
  };
}

async function servers(): Promise<Databases> {
  const postgres = await Postgres.start();
  return {
    create: async () => locationOf(await postgres.createDatabase()),
    stop: () => postgres.stop(),
  };
}

/** Is there a PostgreSQL to test with? */
export const POSTGRES_AVAILABLE = Postgres.available;

/** What a test is called that has none. */
export const POSTGRES_NAME = POSTGRES_AVAILABLE
  ? 'PostgreSQL'
  : 'PostgreSQL (skipped: no initdb and postgres on the path, or no account to run them as)';

export const DATABASES: readonly DatabaseKind[] = [
  { name: 'SQLite', available: true, start: files },
  { name: POSTGRES_NAME, available: POSTGRES_AVAILABLE, start: servers },
];

/** Gives each test of a suite a new and empty database, which is closed behind it. */
export function databasePerTest(start: DatabaseKind['start']): () => Database {
  let databases: Databases;
  let database: Database;
  beforeAll(async () => {
    databases = await start();
  });
  afterAll(() => databases.stop());
  beforeEach(async () => {
    database = await openDatabase(await databases.create());
  });
  afterEach(() => database.close());
  return () => database;
}
