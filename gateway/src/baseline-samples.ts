/**
 * The samples that a patient's baseline goes on from, in the clear: the service provider holds them
 * encrypted, the gateway alone decrypts them with the patient's secret key.
 */
import { Bcp, decodeCiphertexts, decrypt } from '@duoveil/common/bcp';
import type { SecretKey } from '@duoveil/common/bcp';
import { packingPlanOf, scaleOf } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { elementAt } from '@duoveil/common/lists';
import type { ModularEngine } from '@duoveil/common/modular';
import { readSample } from '@duoveil/common/protocols/packed';
import { callServerStream } from '@duoveil/common/runtime';
import type { Connection } from '@duoveil/common/runtime';
import { BaselineServiceService } from '@duoveil/proto';
import type { BaselineSample, GetBaselineSamplesResponse } from '@duoveil/proto';

import type { PlainSample } from './sample.js';
import type { GatewayState } from './state.js';
import { misbehaved, sequenceOf } from './wire.js';

/** See the file's comment. */
export interface Baseline {
  /** The last sample of the series; it has its decision, and all before it. 0 where there is none. */
  readonly decided: number;
  /** Ascending, by their numbers in that series. */
  readonly samples: readonly PlainSample[];
}

/**
 * Fetch and decrypt.
 * @throws NOT_READY while a sample waits for its decision; DECRYPTION_FAILED, the same for every cause;
 * PEER_MISBEHAVED; what the call throws; the signal's reason
 */
export async function fetchBaseline(
  connection: Connection,
  state: GatewayState,
  secretKey: SecretKey,
  engine: ModularEngine,
  signal: AbortSignal,
): Promise<Baseline> {
  const request = { patientId: state.patient };
  const method = BaselineServiceService.getBaselineSamples;
  const parts = callServerStream(connection, method, request, { signal });
  return readBaseline(parts, state, secretKey, engine, connection.peer);
}

/**
 * Decode and decrypt what a service provider answers; as {@link fetchBaseline}.
 * @param peer who answers, for errors
 */
export async function readBaseline(
  parts: AsyncIterable<GetBaselineSamplesResponse>,
  state: GatewayState,
  secretKey: SecretKey,
  engine: ModularEngine,
  peer: string,
): Promise<Baseline> {
  let extent: { decided: number; count: number } | undefined;
  const samples: PlainSample[] = [];
  for await (const { part } of parts) {
    if (part?.$case === 'extent' && extent === undefined) {
      const { decided, samples: count } = part.value;
      extent = { decided: sequenceOf(decided, 0, peer), count };
    } else if (part?.$case === 'sample' && extent !== undefined && samples.length < extent.count) {
      const sequence = sequenceOf(part.value.sequence, (samples.at(-1)?.sequence ?? 0) + 1, peer);
      if (sequence > extent.decided) throw misbehaved(peer, 'sent a sample out of its place');
      const values = await decryptSample(part.value, state, secretKey, engine, peer);
      samples.push({ sequence, values, measuredAt: measuredAtOf(part.value, peer) });
    } else throw misbehaved(peer, 'sent a part of a baseline out of its place');
  }
  if (samples.length !== extent?.count) throw misbehaved(peer, 'sent a part of a baseline only');
  return { decided: extent.decided, samples };
}

/**
 * Whatever cannot be a sample is refused with the one generic error: what a gateway says of chosen
 * ciphertexts must not help anybody.
 */
async function decryptSample(
  { ciphertexts }: BaselineSample,
  { schema, policy, parameters }: GatewayState,
  secretKey: SecretKey,
  engine: ModularEngine,
  peer: string,
): Promise<readonly bigint[]> {
  const plan =
    policy.suite === 'packed' ? packingPlanOf(schema, policy, parameters.bits) : undefined;
  const count = plan?.plaintexts ?? schema.channels.length;
  if (ciphertexts.length !== count) throw misbehaved(peer, 'sent a sample of another form');
  const decoded = await decodeCiphertexts(ciphertexts, 'ciphertexts', parameters, engine);
  const plaintexts = await decrypt(new Bcp(parameters, engine), secretKey, decoded);
  const values = plan === undefined ? plaintexts : readSample(plan, plaintexts);
  const fits = values?.every((value, i) => value <= scaleOf(elementAt(schema.channels, i)).D);
  if (values === undefined || fits !== true) {
    throw duoveilError('DECRYPTION_FAILED', 'decryption failed');
  }
  return values;
}

function measuredAtOf({ measuredAtMs }: BaselineSample, peer: string): number | undefined {
  return measuredAtMs === undefined ? undefined : sequenceOf(measuredAtMs, 0, peer);
}
