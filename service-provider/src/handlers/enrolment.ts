import { acceptPublicKey, type Bcp } from '@duoveil/common/bcp';
import {
  decodeChannels,
  parsePolicy,
  policyToJson,
  requireFits,
  type MonitoringPolicy,
  type Schema,
} from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import {
  parsePatientId,
  requireOwnPatient,
  type CallContext,
  type Clock,
} from '@duoveil/common/runtime';
import {
  Baseline,
  Output,
  Suite,
  type EnrolRequest,
  type EnrolResponse,
  type MonitoringPolicy as WirePolicy,
} from '@duoveil/proto';

import type { Patient, Store } from '../store/index.js';
import { requireParameters } from './parameters.js';

/** What the enrolment handler works with. */
export interface EnrolmentEnvironment {
  readonly bcp: Bcp;
  readonly store: Store;
  /** May the service provider learn distances? */
  readonly allowDistance: boolean;
  readonly clock: Clock;
}

/**
 * Enrol a patient, or accept once more what is there already. Who watches the patient is settled by
 * the leases.
 */
export async function enrol(
  environment: EnrolmentEnvironment,
  request: EnrolRequest,
  context: CallContext,
): Promise<EnrolResponse> {
  const { bcp, store, allowDistance, clock } = environment;
  const patient = await decode(request, bcp, context);
  requireAllowed(patient.policy, allowDistance);
  const known = await store.patients.keep(patient, clock.now());
  requireSame(known, patient);
  return {};
}

async function decode(request: EnrolRequest, bcp: Bcp, context: CallContext): Promise<Patient> {
  const id = parsePatientId(request.patientId, 'patient_id');
  requireOwnPatient(context.identity, id);
  requireParameters(request.parametersDigest, bcp.parameters);
  const key = {
    publicKey: required(request.publicKey, 'public_key').h,
    ...required(request.proof, 'proof'),
  };
  await acceptPublicKey(bcp, key, id);
  const schema = decodeChannels(request.channels, 'the enrolment');
  const policy = policyOf(required(request.policy, 'policy'), schema);
  requireFits(schema, policy, bcp.parameters);
  return { id, key, schema, policy };
}

function policyOf(policy: WirePolicy, schema: Schema): MonitoringPolicy {
  const { window, retrainEvery, thresholdScaled, higherThresholdsScaled } = policy;
  return parsePolicy(
    {
      window,
      retrainEvery,
      thresholdScaled,
      higherThresholdsScaled,
      baseline:
        policy.baseline === Baseline.ROLLING
          ? 'rolling'
          : named(policy.baseline, Baseline.FIXED, 'fixed'),
      suite:
        policy.suite === Suite.PACKED
          ? 'packed'
          : named(policy.suite, Suite.REFERENCE, 'reference'),
      output:
        policy.output === Output.LEVEL
          ? 'level'
          : named(policy.output, Output.DISTANCE, 'distance'),
    },
    schema,
    'the enrolment',
  );
}

/** The name of a known number; anything else is left for the parser to refuse. */
function named<Name extends string>(given: number, known: number, name: Name): Name | undefined {
  return given === known ? name : undefined;
}

function required<T>(field: T | undefined, name: string): T {
  if (field === undefined) {
    throw duoveilError('MESSAGE_INVALID', `${name} is missing`, { field: name });
  }
  return field;
}

/** @throws DuoveilError `OUTPUT_NOT_ALLOWED` */
function requireAllowed({ output }: MonitoringPolicy, allowDistance: boolean): void {
  if (output === 'distance' && !allowDistance) {
    throw duoveilError(
      'OUTPUT_NOT_ALLOWED',
      'distance output is switched off here: enrol with level output, or switch it on with --allow-distance at the service provider and the CSP',
      { output },
    );
  }
}

/** @throws DuoveilError `PATIENT_CONFLICT` */
function requireSame(known: Patient, offered: Patient): void {
  const parts = {
    public_key: [known.key.publicKey, offered.key.publicKey].map((key) =>
      Buffer.from(key).toString('hex'),
    ),
    channels: [known.schema, offered.schema].map((schema) => JSON.stringify(schema)),
    policy: [known.policy, offered.policy].map((policy) => JSON.stringify(policyToJson(policy))),
  };
  for (const [field, [left, right]] of Object.entries(parts)) {
    if (left !== right) {
      throw duoveilError(
        'PATIENT_CONFLICT',
        `this patient is enrolled already, with other ${field}: use what was enrolled, or another patient id`,
        { field },
      );
    }
  }
}
