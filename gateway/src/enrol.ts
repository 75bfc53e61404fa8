/** Enrolment: agree on parameters, make the patient's key, tell the service provider. */
import {
  Bcp,
  decodeParameters,
  encodeKey,
  generateKeyPair,
  keyPairOf,
  provePossession,
  requirePinned,
} from '@duoveil/common/bcp';
import type { EncodedKey, ParametersDigest, PublicParameters } from '@duoveil/common/bcp';
import { policyToJson, requireFits } from '@duoveil/common/encoding';
import type { MonitoringPolicy, Schema } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import type { ModularEngine } from '@duoveil/common/modular';
import type { RandomSource } from '@duoveil/common/random';
import { callUnary, requireSecureBits, retrying } from '@duoveil/common/runtime';
import type { Connection, Logger, PatientId, SealingSecret, Sleep } from '@duoveil/common/runtime';
import { EnrolmentServiceService, ParametersServiceService } from '@duoveil/proto';

import { hasSpoolKey, writeSpoolKey } from './spool-key.js';
import { readSecretKey, readState, writeSecretKey, writeState } from './state.js';
import type { GatewayState } from './state.js';
import { encodeEnrolment, misbehaved } from './wire.js';

/** What enrolment needs. */
export interface EnrolOptions {
  /** To the service provider. */
  readonly connection: Connection;
  /** As the gateway's own certificate names it. */
  readonly patient: PatientId;
  readonly trustDomain: string;
  /** The state directory; made if need be. */
  readonly directory: string;
  /** The digest of the only parameters that are acceptable. */
  readonly pinned: ParametersDigest;
  readonly schema: Schema;
  readonly policy: MonitoringPolicy;
  /** Accept a modulus of less than 2048 bits: for experiments. */
  readonly insecureKeyBits?: boolean;
  /** What seals the patient's keys. Asked for only where one has to be made. */
  readonly sealingSecret: () => Promise<SealingSecret>;
  readonly engine: ModularEngine;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly signal?: AbortSignal;
  readonly sleep?: Sleep;
}

/** How an enrolment ended. */
export interface Enrolled {
  readonly state: GatewayState;
  /** Was the patient's key made just now? */
  readonly newKey: boolean;
}

/** How long one call may take, and how long to keep trying, in milliseconds. */
const CALL_MS = 30_000;
const PATIENCE_MS = 30_000;

/**
 * Enrols a patient. Doing it again is harmless: the same key and the same proof are sent again. The
 * state is on disk before the service provider hears of the key, so that a crash at any point leaves
 * one key, never two.
 * @throws PARAMETERS_MISMATCH, PARAMETERS_INVALID, BOUNDS_EXCEEDED; OPTION_INVALID for a modulus that
 * is too short; PATIENT_CONFLICT where the
 * directory, or the service provider, has the patient with something else; what the calls throw
 */
export async function enrol(options: EnrolOptions): Promise<Enrolled> {
  const parameters = await fetchParameters(options);
  requireFits(options.schema, options.policy, parameters);
  const known = await readState(options.directory);
  if (known !== undefined) {
    requireSame(known, options, parameters);
    await replaceSpoolKey(options, parameters);
  }
  const state = known ?? (await makeState(options, parameters));
  await trying(options, () =>
    callUnary(options.connection, EnrolmentServiceService.enrol, encodeEnrolment(state), {
      deadlineMs: CALL_MS,
      ...signalOf(options),
    }),
  );
  return { state, newKey: known === undefined };
}

async function fetchParameters(options: EnrolOptions): Promise<PublicParameters> {
  const { connection, pinned, engine, insecureKeyBits } = options;
  const response = await trying(options, () =>
    callUnary(
      connection,
      ParametersServiceService.getParameters,
      {},
      { deadlineMs: CALL_MS, ...signalOf(options) },
    ),
  );
  if (response.parameters === undefined) throw misbehaved(connection.peer, 'sent no parameters');
  const parameters = await decodeParameters(response.parameters, engine);
  requirePinned(parameters, pinned);
  requireSecureBits(parameters.bits, insecureKeyBits ?? false);
  return parameters;
}

/** Makes the key, or takes the one that an interrupted enrolment left behind. */
async function makeState(
  options: EnrolOptions,
  parameters: PublicParameters,
): Promise<GatewayState> {
  const { directory, patient, trustDomain, schema, policy } = options;
  const key = await makeKey(options, parameters);
  const state = { patient, trustDomain, parameters, key, schema, policy };
  await writeState(directory, state);
  return state;
}

async function makeKey(options: EnrolOptions, parameters: PublicParameters): Promise<EncodedKey> {
  const { directory, patient, engine, random } = options;
  const bcp = new Bcp(parameters, engine);
  const secret = await options.sealingSecret();
  const left = await readSecretKey(directory, patient, parameters, secret);
  const keys = await (left === undefined ? generateKeyPair(bcp, random) : keyPairOf(bcp, left));
  if (left === undefined) {
    await writeSecretKey(directory, patient, parameters, keys.secretKey, secret, random);
  }
  if (!(await hasSpoolKey(directory))) await writeSpoolKey(directory, patient, secret, random);
  const proof = await provePossession(bcp, keys, patient, random);
  return encodeKey(keys.publicKey, proof, parameters);
}

/** Makes a spool key where that was lost, under the secret that sealed the patient's own. */
async function replaceSpoolKey(
  { directory, patient, sealingSecret, random }: EnrolOptions,
  parameters: PublicParameters,
): Promise<void> {
  if (await hasSpoolKey(directory)) return;
  const secret = await sealingSecret();
  await readSecretKey(directory, patient, parameters, secret);
  await writeSpoolKey(directory, patient, secret, random);
}

/** A directory is one patient's, with one schema and one policy, for good. */
function requireSame(
  known: GatewayState,
  wanted: EnrolOptions,
  parameters: PublicParameters,
): void {
  const pairs: [field: string, a: unknown, b: unknown][] = [
    ['patient', known.patient, wanted.patient],
    ['trustDomain', known.trustDomain, wanted.trustDomain],
    ['parameters', known.parameters.digest, parameters.digest],
    ['schema', JSON.stringify(known.schema), JSON.stringify(wanted.schema)],
    ...Object.entries(policyToJson(known.policy)).map(
      ([field, value]): [string, unknown, unknown] => [
        field,
        JSON.stringify(value),
        JSON.stringify(policyToJson(wanted.policy)[field]),
      ],
    ),
  ];
  const field = pairs.find(([, a, b]) => a !== b)?.[0];
  if (field === undefined) return;
  throw duoveilError(
    'PATIENT_CONFLICT',
    `${wanted.directory} holds ${known.patient}, enrolled with another ${field}; what a patient is ` +
      'enrolled with cannot be changed: use the same options, or another patient and directory',
    { field },
  );
}

function trying<T>(options: EnrolOptions, call: () => Promise<T>): Promise<T> {
  const { random, logger, sleep, connection } = options;
  return retrying(call, {
    deadlineMs: PATIENCE_MS,
    baseMs: 200,
    maxMs: 2000,
    random,
    ...signalOf(options),
    ...(sleep !== undefined && { sleep }),
    onRetry: (error, _attempt, pauseMs) => {
      logger.warn('trying again', { peer: connection.peer, error, pauseMs });
    },
  });
}

function signalOf({ signal }: EnrolOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
