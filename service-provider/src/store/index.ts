import type { PublicParameters } from '@duoveil/common/bcp';

import { openDatabase } from './database.js';
import { DecisionStore } from './decisions.js';
import { GroupCommit } from './group-commit.js';
import { ModelStore } from './models.js';
import { bindParameters } from './parameters.js';
import { PatientStore } from './patients.js';
import { SampleStore } from './samples.js';

export { packCiphertexts, unpackCiphertexts } from './blobs.js';
export type { Decision, Outcome } from './decisions.js';
export type { StoredModel, TrainingNotice } from './models.js';
export type { Patient } from './patients.js';
export type { StoredSample } from './samples.js';

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
 * @throws DuoveilError `STORAGE_FAILED`, `STORAGE_FULL`, `PARAMETERS_MISMATCH`
 */
export async function openStore(file: string, parameters: PublicParameters): Promise<Store> {
  const db = await openDatabase(file);
  try {
    await bindParameters(db, parameters);
  } catch (error) {
    await db.destroy();
    throw error;
  }
  const commits = new GroupCommit(db);
  return {
    patients: new PatientStore(db),
    samples: new SampleStore(db, commits, parameters),
    models: new ModelStore(db),
    decisions: new DecisionStore(db, commits),
    close: () => db.destroy(),
  };
}
