import { encodeCiphertext, type Bcp } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import { parsePatientId, requireOwnPatient, type CallContext } from '@duoveil/common/runtime';
import type { GetStatisticsRequest, GetStatisticsResponse } from '@duoveil/proto';

import type { Monitors } from '../monitor/monitors.js';
import type { Store } from '../store/index.js';

/** What the statistics handler works with. */
export interface StatisticsEnvironment {
  readonly bcp: Bcp;
  readonly store: Store;
  readonly monitors: Monitors;
}

/** A patient's own encrypted statistics, to the patient's gateway, which alone can decrypt them. */
export async function statistics(
  { bcp, store, monitors }: StatisticsEnvironment,
  { patientId }: GetStatisticsRequest,
  { identity }: CallContext,
): Promise<GetStatisticsResponse> {
  const patient = parsePatientId(patientId, 'patient_id');
  requireOwnPatient(identity, patient);
  const { suite } = await monitors.of(patient);
  const model = await store.models.latest(patient);
  if (model === undefined) {
    throw duoveilError('NOT_READY', 'there is no baseline yet: try again when the window is full');
  }
  const sums = await suite.sums(model);
  return {
    model: model.number,
    throughSequence: BigInt(model.throughSequence),
    sums: sums.map((sum) => encodeCiphertext(sum, bcp.parameters)),
  };
}
