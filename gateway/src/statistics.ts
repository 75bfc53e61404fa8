/**
 * A patient's own statistics: the service provider holds them encrypted, the gateway alone decrypts
 * them with the patient's secret key.
 */
import { Bcp, decodeCiphertexts, decrypt } from '@duoveil/common/bcp';
import type { SecretKey } from '@duoveil/common/bcp';
import {
  makeRational,
  packingPlanOf,
  scaleOf,
  toNumber,
  unpack,
  type PackingPlan,
  type Schema,
} from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { elementAt, inParts } from '@duoveil/common/lists';
import type { ModularEngine } from '@duoveil/common/modular';
import { callUnary } from '@duoveil/common/runtime';
import type { Connection } from '@duoveil/common/runtime';
import { StatisticsServiceService } from '@duoveil/proto';

import type { GatewayState } from './state.js';
import { misbehaved } from './wire.js';

/** A patient's baseline, in the clear, in the channels' own units. */
export interface BaselineStatistics {
  /** The model's number, from 1. */
  readonly model: number;
  /** The last sample that had been decided when it was trained. */
  readonly throughSequence: number;
  /** How many samples made it. */
  readonly window: number;
  /** Channels, in the order of what follows. */
  readonly channels: readonly string[];
  readonly mean: readonly number[];
  /** Of the samples, without the noise floors; with `n - 1`. */
  readonly covariance: readonly (readonly number[])[];
}

const CALL_MS = 30_000;

/**
 * Fetch and decrypt.
 * @throws OUTPUT_NOT_ALLOWED with the reference suite, which keeps no sums; NOT_READY before the
 * first training; DECRYPTION_FAILED, the same for every cause; what the call throws
 */
export async function fetchStatistics(
  connection: Connection,
  { patient, parameters, schema, policy }: GatewayState,
  secretKey: SecretKey,
  engine: ModularEngine,
): Promise<BaselineStatistics> {
  const { model, throughSequence, sums } = await callUnary(
    connection,
    StatisticsServiceService.getStatistics,
    { patientId: patient },
    { deadlineMs: CALL_MS },
  );
  const plan = packingPlanOf(schema, policy, parameters.bits);
  if (sums.length !== plan.plaintexts) throw misbehaved(connection.peer, 'sent other sums');
  const ciphertexts = await decodeCiphertexts(sums, 'sums', parameters, engine);
  const plaintexts = await decrypt(new Bcp(parameters, engine), secretKey, ciphertexts);
  const features = unpackSums(plan, schema, plaintexts);
  return {
    model,
    throughSequence: Number(throughSequence),
    window: plan.window,
    channels: schema.channels.map(({ name }) => name),
    ...momentsOf(plan, schema, features),
  };
}

/**
 * The sums of features. Whatever cannot be sums over a window is refused with the one generic error:
 * what a gateway says of chosen ciphertexts must not help anybody.
 */
function unpackSums(
  { features, featureSlots, window }: PackingPlan,
  schema: Schema,
  plaintexts: readonly bigint[],
): bigint[] {
  const { bits, perPlaintext } = featureSlots;
  const largest = schema.channels.map((channel) => scaleOf(channel).D);
  const parts = inParts(features, perPlaintext);
  return plaintexts.flatMap((plaintext, i) => {
    const part = elementAt(parts, i);
    if (plaintext >> BigInt(bits * part.length) !== 0n) throw refused();
    const sums = unpack(plaintext, bits, part.length);
    part.forEach(([j, k], slot) => {
      const bound = elementAt(largest, j) * (k === undefined ? 1n : elementAt(largest, k));
      if (elementAt(sums, slot) > BigInt(window) * bound) throw refused();
    });
    return sums;
  });
}

/** `μ = Σx/n` and `S = (n·Σxxᵀ - Σx·Σxᵀ)/(n(n-1))`, exact until they are rounded once. */
function momentsOf(
  { features, window, p }: PackingPlan,
  { channels }: Schema,
  sums: readonly bigint[],
): Pick<BaselineStatistics, 'mean' | 'covariance'> {
  const n = BigInt(window);
  const sum = (j: number, k?: number): bigint =>
    elementAt(
      sums,
      features.findIndex(([a, b]) => a === j && b === k),
    );
  const resolutions = channels.map((channel) => scaleOf(channel).resolution);
  const steps = resolutions.map(({ units, scale }) => ({ units, scale: 10n ** BigInt(scale) }));
  const indices = Array.from({ length: p }, (_, j) => j);
  return {
    mean: indices.map((j) => {
      const { min } = scaleOf(elementAt(channels, j));
      const { units, scale } = elementAt(steps, j);
      const offset = 10n ** BigInt(min.scale);
      // min + resolution·Σx/n
      return toNumber(
        makeRational(min.units * scale * n + units * sum(j) * offset, offset * scale * n),
      );
    }),
    covariance: indices.map((j) =>
      indices.map((k) => {
        const product = sum(Math.min(j, k), Math.max(j, k));
        const left = elementAt(steps, j);
        const right = elementAt(steps, k);
        return toNumber(
          makeRational(
            left.units * right.units * (n * product - sum(j) * sum(k)),
            left.scale * right.scale * n * (n - 1n),
          ),
        );
      }),
    ),
  };
}

function refused(): Error {
  return duoveilError('DECRYPTION_FAILED', 'decryption failed');
}
