/** What the tests of the fault simulation need beside it. */
import { parsePatientId, systemSleep } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';

import {
  keepStoreKey,
  openStore,
  parseStoreKey,
} from '../../../service-provider/src/store/index.js';
import type { KeptDecision, SharedDatabase, StoreReader } from '../../src/faults/index.js';
import type { Postgres } from '../../src/parties/postgres.js';
import { locationOf } from './databases.js';

/** More decisions than any patient has. */
const ALL = 1_000;

/** Reads the decisions from the store, wherever it is. */
export const readStore: StoreReader = async (where, parameters, patients) => {
  const store = await openStore({
    ...('file' in where
      ? { location: { kind: 'file', file: where.file }, key: await keepStoreKey(where.file) }
      : {
          location: locationOf(where.databaseUrl),
          key: parseStoreKey(new Secret(where.storeKey), 'the test'),
        }),
    parameters,
    leaseMs: 1_000,
  });
  try {
    const kept = new Map<(typeof patients)[number], readonly KeptDecision[]>();
    for (const patient of patients) {
      kept.set(parsePatientId(patient, 'patient'), await store.decisions.list(patient, 1, ALL));
    }
    return kept;
  } finally {
    await store.close();
  }
};

/** A new database of a PostgreSQL, for SPs to share. */
export async function shareDatabase(postgres: Postgres): Promise<SharedDatabase> {
  return {
    url: await postgres.createDatabase(),
    cut: () => postgres.cut(),
    away: async (ms) => {
      await postgres.halt();
      await systemSleep(ms);
      await postgres.resume();
    },
  };
}
