import type { PublicParameters } from '@duoveil/common/bcp';
import { systemRandom } from '@duoveil/common/random';
import type { Secret } from '@duoveil/common/secret';

import { openDatabase } from './database.js';
import { DecisionStore } from './decisions.js';
import { GroupCommit } from './group-commit.js';
import { ModelStore } from './models.js';
import { bindParameters } from './parameters.js';
import { PatientStore } from './patients.js';
import { SampleStore } from './samples.js';
import { StoreSeal } from './seal.js';
import { bindStoreKey } from './store-key-check.js';

export { packCiphertexts, unpackCiphertexts } from './blobs.js';
export type { Decision } from './decisions.js';
export type { StoredModel, TrainingNotice } from './models.js';
export { isAccepted } from './outcomes.js';
export type { Outcome } from './outcomes.js';
export type { Patient } from './patients.js';
export type { StoredSample } from './samples.js';
export { keepStoreKey, parseStoreKey, storeKeyFile } from './store-key.js';

/** Everything that the service provider keeps. What is not in here does not survive a stop. */
export interface Store {
  readonly patients: PatientStore;
  readonly samples: SampleStore;
  readonly models: ModelStore;
  readonly decisions: DecisionStore;
  close(): Promise<void>;
}

/**
 * Open the store in a file.
 * @param key seals what the database must not tell
 * @throws DuoveilError `STORAGE_FAILED`, `STORAGE_FULL`, `PARAMETERS_MISMATCH`; `UNSEALING_FAILED`
 * where the store was made with another key
 */
export async function openStore(
  file: string,
  parameters: PublicParameters,
  key: Secret<Uint8Array>,
): Promise<Store> {
  const seal = new StoreSeal(key, systemRandom);
  const db = await openDatabase(file);
  try {
    await bindParameters(db, parameters);
    await bindStoreKey(db, seal);
  } catch (error) {
    await db.destroy();
    throw error;
  }
  const commits = new GroupCommit(db);
  return {
    patients: new PatientStore(db),
    samples: new SampleStore(db, commits, parameters),
    models: new ModelStore(db, commits, seal),
    decisions: new DecisionStore(db, commits, seal),
    close: () => db.destroy(),
  };
}
