import type { Decision as WireDecision, WatchRequest, WatchResponse } from '@duoveil/proto';
import { parsePatientId, requireOwnPatient, type CallContext } from '@duoveil/common/runtime';
import { duoveilError } from '@duoveil/common/errors';

import type { Monitors } from '../monitor/monitors.js';
import type { Decision, Store, TrainingNotice } from '../store/index.js';

/** Decisions that are read from the store at once. */
const PAGE = 256;

/** The decisions on one patient, from a sequence number on, then each as it is made. */
export async function* watch(
  request: WatchRequest,
  context: CallContext,
  store: Store,
  monitors: Monitors,
): AsyncGenerator<WatchResponse, void> {
  const patient = parsePatientId(request.patientId, 'patient_id');
  requireOwnPatient(context.identity, patient);
  if (request.fromSequence < 1n || request.fromSequence > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw duoveilError('MESSAGE_INVALID', 'from_sequence must be at least 1', {
      field: 'from_sequence',
    });
  }
  const { progress } = await monitors.of(patient);
  const from = Number(request.fromSequence);
  let next = from;
  let model = 0;
  for (;;) {
    const heard = progress.count;
    const decisions = await store.decisions.list(patient, next, PAGE);
    const trainings = await store.models.trainings(patient, model, from - 1);
    for (const decision of decisions) {
      while (trainings[0] !== undefined && trainings[0].throughSequence < decision.sequence) {
        model = trainings[0].number;
        yield trainedEvent(trainings[0]);
        trainings.shift();
      }
      yield decisionEvent(decision);
      next = decision.sequence + 1;
    }
    for (const training of trainings.filter(({ throughSequence }) => throughSequence < next)) {
      model = training.number;
      yield trainedEvent(training);
    }
    if (decisions.length < PAGE) await progress.next(heard, context.signal);
    if (context.signal.aborted) return;
  }
}

function trainedEvent({ number, throughSequence, trainMs }: TrainingNotice): WatchResponse {
  return {
    event: {
      $case: 'trained',
      value: { model: number, throughSequence: BigInt(throughSequence), trainMs },
    },
  };
}

function decisionEvent({ sequence, outcome }: Decision): WatchResponse {
  return {
    event: { $case: 'decision', value: { sequence: BigInt(sequence), outcome: wire(outcome) } },
  };
}

function wire(outcome: Decision['outcome']): WireDecision['outcome'] {
  switch (outcome.kind) {
    case 'learning':
      return { $case: 'learning', value: {} };
    case 'unscorable':
      return { $case: 'unscorable', value: {} };
    case 'scored':
      return {
        $case: 'scored',
        value: {
          outlier: outcome.outlier,
          statistic:
            outcome.statistic.kind === 'distance'
              ? { $case: 'squaredDistance', value: outcome.statistic.squaredDistance }
              : { $case: 'level', value: outcome.statistic.level },
          model: outcome.model,
          latencyMs: outcome.latencyMs,
        },
      };
  }
}
