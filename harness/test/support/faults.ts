/** What the tests of the fault simulation need beside it. */
import { parsePatientId } from '@duoveil/common/runtime';

import { keepStoreKey, openStore } from '../../../service-provider/src/store/index.js';
import type { KeptDecision, StoreReader } from '../../src/faults/index.js';

/** More decisions than any patient has. */
const ALL = 1_000;

/** Reads the decisions from the store's file. */
export const readStore: StoreReader = async (database, parameters, patients) => {
  const store = await openStore({
    location: { kind: 'file', file: database },
    parameters,
    key: await keepStoreKey(database),
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
