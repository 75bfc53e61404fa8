import type { PublicParameters } from '@duoveil/common/bcp';
import { systemRandom } from '@duoveil/common/random';
import { sql } from 'kysely';

import { BookStore } from './books.js';
import type { Database, NewsListener } from './database.js';
import { DecisionStore } from './decisions.js';
import { storing } from './failures.js';
import { GroupCommit } from './group-commit.js';
import { FencedWrites, LeaseStore } from './leases.js';
import { ModelStore } from './models.js';
import { bindParameters } from './parameters.js';
import { PatientStore } from './patients.js';
import { SampleStore } from './samples.js';
import type { Seal } from './seal.js';
import { bindStoreKey } from './store-key-check.js';

/** Everything that the service provider keeps. What is not in here does not survive a stop. */
export interface Store {
  readonly patients: PatientStore;
  readonly leases: LeaseStore;
  readonly samples: SampleStore;
  readonly models: ModelStore;
  readonly decisions: DecisionStore;
  readonly books: BookStore;
  /** Has a listener told what other processes wrote. */
  listen(listener: NewsListener): void;
  /**
   * Asks the database something that costs nothing.
   * @throws DuoveilError `STORAGE_UNAVAILABLE`, `STORAGE_FAILED` where it does not answer
   */
  ask(): Promise<void>;
  close(): Promise<void>;
}

/**
 * The store over a database that is open, and bound from now on to its parameters and its key.
 * @param leaseMs how long a lease lasts that is not renewed
 * @throws DuoveilError `PARAMETERS_MISMATCH`, `UNSEALING_FAILED`, and as the database does
 */
export async function storeOver(
  database: Database,
  parameters: PublicParameters,
  seal: Seal,
  leaseMs: number,
): Promise<Store> {
  const { db } = database;
  await bindParameters(db, parameters);
  await bindStoreKey(db, seal);
  const commits = new GroupCommit(db);
  const leases = new LeaseStore(database, commits, leaseMs);
  // Whoever had one is gone.
  if (!database.shared) await leases.expireAll();
  const writes = new FencedWrites(database, commits);
  const books = new BookStore(database, { commits, writes }, seal, systemRandom);
  return {
    patients: new PatientStore(db),
    leases,
    samples: new SampleStore(db, writes, parameters),
    models: new ModelStore(db, writes, seal),
    decisions: new DecisionStore(db, writes, seal, books),
    books,
    listen: (listener) => {
      database.listen(listener);
    },
    ask: () =>
      storing(async () => {
        await sql`select 1`.execute(db);
      }),
    close: () => database.close(),
  };
}
