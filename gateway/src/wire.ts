/** Between the gateway's own types and the wire's. */
import type { EncodedKey, PublicParameters } from '@duoveil/common/bcp';
import { encodeChannels } from '@duoveil/common/encoding';
import type { MonitoringPolicy, Schema } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import type { PatientId } from '@duoveil/common/runtime';
import * as wire from '@duoveil/proto';

const baselines = { fixed: wire.Baseline.FIXED, rolling: wire.Baseline.ROLLING } as const;
const suites = { reference: wire.Suite.REFERENCE, packed: wire.Suite.PACKED } as const;
const outputs = { distance: wire.Output.DISTANCE, level: wire.Output.LEVEL } as const;

/** A digest as it travels: 32 bytes. */
export function digestBytes({ digest }: Pick<PublicParameters, 'digest'>): Buffer {
  return Buffer.from(digest, 'hex');
}

/** The request that enrols a patient. */
export function encodeEnrolment(enrolment: {
  readonly patient: PatientId;
  readonly parameters: PublicParameters;
  readonly key: EncodedKey;
  readonly schema: Schema;
  readonly policy: MonitoringPolicy;
}): wire.EnrolRequest {
  const { patient, parameters, key, schema, policy } = enrolment;
  return {
    patientId: patient,
    parametersDigest: digestBytes(parameters),
    publicKey: { h: Buffer.from(key.publicKey) },
    proof: { commitment: Buffer.from(key.commitment), response: Buffer.from(key.response) },
    channels: encodeChannels(schema),
    policy: {
      window: policy.window,
      baseline: baselines[policy.baseline],
      retrainEvery: policy.retrainEvery,
      thresholdScaled: policy.thresholdScaled,
      suite: suites[policy.suite],
      output: outputs[policy.output],
      higherThresholdsScaled: [...policy.higherThresholdsScaled],
    },
  };
}

/**
 * A sequence number from the wire, where it is one that can be counted with.
 * @throws PEER_MISBEHAVED
 */
export function sequenceOf(value: bigint, least: number, peer: string): number {
  if (value >= BigInt(least) && value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw misbehaved(peer, 'sent a sequence number that cannot be right');
}

/** The error for an answer that cannot be right. */
export function misbehaved(peer: string, what: string): Error {
  return duoveilError('PEER_MISBEHAVED', `${peer} ${what}`, { peer });
}
