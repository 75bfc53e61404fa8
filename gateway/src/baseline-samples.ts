/**
 * The samples that a patient's baseline goes on from, in the clear: the service provider holds them
 * encrypted, the gateway alone decrypts them with the patient's secret key.
 */
import { Bcp, decodeCiphertexts, decrypt } from '@duoveil/common/bcp';
import type { SecretKey } from '@duoveil/common/bcp';
import { packingPlanOf, scaleOf } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { elementAt, inParts } from '@duoveil/common/lists';
import type { ModularEngine } from '@duoveil/common/modular';
import { readSample } from '@duoveil/common/protocols/packed';
import { callServerStream } from '@duoveil/common/runtime';
import type { Connection } from '@duoveil/common/runtime';
import { BaselineServiceService } from '@duoveil/proto';
import type { BaselineSample, GetBaselineSamplesResponse } from '@duoveil/proto';

import type { PlainSample } from './sample.js';
import type { GatewayState } from './state.js';
import { misbehaved, sequenceOf } from './wire.js';

/** Samples that are decrypted at once: enough to keep the cores busy. */
const BATCH = 32;

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
  const received: BaselineSample[] = [];
  let last = 0;
  for await (const { part } of parts) {
    if (part?.$case === 'extent' && extent === undefined) {
      const { decided, samples: count } = part.value;
      extent = { decided: sequenceOf(decided, 0, peer), count };
    } else if (part?.$case === 'sample' && extent !== undefined && received.length < extent.count) {
      last = sequenceOf(part.value.sequence, last + 1, peer);
      if (last > extent.decided) throw misbehaved(peer, 'sent a sample out of its place');
      received.push(part.value);
    } else throw misbehaved(peer, 'sent a part of a baseline out of its place');
  }
  if (received.length !== extent?.count) throw misbehaved(peer, 'sent a part of a baseline only');
  const samples: PlainSample[] = [];
  for (const batch of inParts(received, BATCH)) {
    const decrypted = await decryptSamples(batch, state, secretKey, engine, peer);
    batch.forEach(({ sequence, measuredAtMs }, i) => {
      const measuredAt = measuredAtMs === undefined ? undefined : sequenceOf(measuredAtMs, 0, peer);
      samples.push({ sequence: Number(sequence), values: elementAt(decrypted, i), measuredAt });
    });
  }
  return { decided: extent.decided, samples };
}

/**
 * Whatever cannot be samples is refused with the one generic error: what a gateway says of chosen
 * ciphertexts must not help anybody.
 */
async function decryptSamples(
  samples: readonly BaselineSample[],
  { schema, policy, parameters }: GatewayState,
  secretKey: SecretKey,
  engine: ModularEngine,
  peer: string,
): Promise<readonly (readonly bigint[])[]> {
  const plan =
    policy.suite === 'packed' ? packingPlanOf(schema, policy, parameters.bits) : undefined;
  const count = plan?.plaintexts ?? schema.channels.length;
  if (samples.some(({ ciphertexts }) => ciphertexts.length !== count)) {
    throw misbehaved(peer, 'sent a sample of another form');
  }
  const encoded = samples.flatMap(({ ciphertexts }) => ciphertexts);
  const ciphertexts = await decodeCiphertexts(encoded, 'ciphertexts', parameters, engine);
  const plaintexts = await decrypt(new Bcp(parameters, engine), secretKey, ciphertexts);
  return inParts(plaintexts, count).map((own) => {
    const values = plan === undefined ? own : readSample(plan, own);
    const fits = values?.every((value, i) => value <= scaleOf(elementAt(schema.channels, i)).D);
    if (values === undefined || fits !== true) {
      throw duoveilError('DECRYPTION_FAILED', 'decryption failed');
    }
    return values;
  });
}
