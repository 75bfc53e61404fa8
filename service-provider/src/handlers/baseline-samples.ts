import { encodeCiphertext, type PublicParameters } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import { parsePatientId, requireOwnPatient, type CallContext } from '@duoveil/common/runtime';
import type {
  BaselineSample,
  GetBaselineSamplesRequest,
  GetBaselineSamplesResponse,
} from '@duoveil/proto';

import { baselineSamples } from '../monitor/baseline-samples.js';
import type { TimedSample } from '../store/index.js';
import type { StatisticsEnvironment } from './statistics.js';

/** The samples that a patient's baseline goes on from, to the patient's gateway. */
export async function* getBaselineSamples(
  { bcp, store, monitors }: StatisticsEnvironment,
  { patientId }: GetBaselineSamplesRequest,
  { identity }: CallContext,
): AsyncGenerator<GetBaselineSamplesResponse, void> {
  const id = parsePatientId(patientId, 'patient_id');
  requireOwnPatient(identity, id);
  const { patient } = await monitors.of(id);
  const decided = await store.decisions.last(id);
  if ((await store.samples.last(id)) > decided) throw notDecided();
  const sequences = await baselineSamples(store, patient);
  const extent = { decided: BigInt(decided), samples: sequences.length };
  yield { part: { $case: 'extent', value: extent } };
  for (const sequence of sequences) {
    const sample = await store.samples.find(id, sequence);
    if (sample === undefined) throw trainedMeanwhile();
    yield { part: { $case: 'sample', value: encodeSample(sample, bcp.parameters) } };
  }
}

function encodeSample(sample: TimedSample, parameters: PublicParameters): BaselineSample {
  const { sequence, ciphertexts, measuredAt } = sample;
  return {
    sequence: BigInt(sequence),
    ciphertexts: ciphertexts.map((ciphertext) => encodeCiphertext(ciphertext, parameters)),
    measuredAtMs: measuredAt && BigInt(measuredAt.getTime()),
  };
}

function notDecided(): Error {
  return duoveilError('NOT_READY', 'samples wait for a decision: try again when all have one');
}

function trainedMeanwhile(): Error {
  return duoveilError('NOT_READY', 'the baseline was trained anew meanwhile: try again');
}
