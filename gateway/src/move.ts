/**
 * A patient moves to another generation of keys, at another service provider: the samples that the
 * baseline goes on from are fetched, decrypted here, encrypted under a new key and sent there. They
 * have the same values in the same order, so that the baseline there is the same one, and the series
 * goes on without learning anew and without a sample less.
 */
import type { ParametersDigest, SecretKey } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import type { ModularEngine } from '@duoveil/common/modular';
import type { RandomSource } from '@duoveil/common/random';
import { retrying } from '@duoveil/common/runtime';
import type { Connection, Logger, SealingSecret } from '@duoveil/common/runtime';

import type { BackoffOptions } from './backoff.js';
import { fetchBaseline } from './baseline-samples.js';
import type { Baseline } from './baseline-samples.js';
import { besideUplink } from './beside-uplink.js';
import { watchDecisions } from './decisions.js';
import { enrol } from './enrol.js';
import { SampleEncoder } from './sample.js';
import type { PlainSample } from './sample.js';
import type { Spool, SpooledSample } from './spool.js';
import { openSpool } from './spool-key.js';
import { readSecretKey, requireNotMoved, requireState, writeState } from './state.js';
import type { GatewayState } from './state.js';

/** A service provider, and the state directory of the patient's enrolment with it. */
export interface Place {
  readonly connection: Connection;
  /** An absolute path. */
  readonly directory: string;
}

/** What a move needs. */
export interface MoveOptions {
  /** Where the patient is enrolled, and streams to until now. Nobody else may have its spool open. */
  readonly from: Place;
  /** Where the patient is to be enrolled. The directory is made if need be. */
  readonly to: Place;
  /** The digest of the only parameters that are acceptable there. */
  readonly pinned: ParametersDigest;
  /** Accept a modulus of less than 2048 bits: for experiments. */
  readonly insecureKeyBits?: boolean;
  /** What has sealed the patient's keys, and is to seal the new ones. */
  readonly secret: SealingSecret;
  readonly engine: ModularEngine;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** The pauses between connections. */
  readonly backoff?: Pick<BackoffOptions, 'firstMs' | 'longestMs'>;
}

/** How long to wait for the decisions on what was sent last, in milliseconds. */
const PATIENCE_MS = 120_000;

/**
 * Moves a patient. What waits in the spool is sent to where the patient is until now, and decided there;
 * from then on, nothing can be streamed from the old directory.
 * A move that was interrupted, wherever that was, is gone on with by doing it again; one that was done
 * is not done again.
 * @returns the state there
 * @throws CONFIG_INVALID where there is nobody to move, or the patient was moved elsewhere; as
 * {@link enrol}, {@link fetchBaseline} and `runUplink`; STORAGE_FULL, STORAGE_FAILED; the signal's reason
 */
export async function move(options: MoveOptions, signal: AbortSignal): Promise<GatewayState> {
  const { from, to, secret } = options;
  const state = await requireState(from.directory);
  if (state.movedTo !== to.directory) {
    requireNotMoved(state);
    // Before anything is made there: an enrolment whose key this secret does not open stays for good.
    await requireSecretKey(options, state);
  }
  const enrolled = await enrolThere(options, state, signal);
  const there = await openSpool({ ...options, ...to, patient: state.patient, secret });
  try {
    if (there.last > 0 && enrolled.moved === undefined) throw hasItsOwn(to.directory);
    const moved =
      there.last > 0 ? enrolled : await carryOver(options, state, enrolled, there, signal);
    await deliver(options, to, moved, there, signal);
    return moved;
  } finally {
    there.close();
  }
}

/** Sends what waits in a spool, and waits until all of it is decided on. */
async function deliver(
  { random, logger, backoff }: MoveOptions,
  { connection }: Place,
  { patient, parameters, policy }: GatewayState,
  spool: Spool,
  signal: AbortSignal,
): Promise<void> {
  const common = { connection, patient, random, logger, ...(backoff && { backoff }) };
  const uplink = { ...common, spool, parametersDigest: parameters.digest };
  const decided = async (life: AbortSignal): Promise<void> => {
    await spool.untilEmpty(life);
    const { last } = spool;
    if (last === 0) return;
    const series = { ...common, output: policy.output, from: last, signal: life };
    for await (const event of watchDecisions(series)) if (event.kind === 'decision') return;
  };
  await besideUplink({ uplink, waitUntilOpen: true, work: (life) => [decided(life)] }, signal);
}

/** The same patient, channels and policy, under a key of the new generation. */
async function enrolThere(
  options: MoveOptions,
  { patient, trustDomain, schema, policy }: GatewayState,
  signal: AbortSignal,
): Promise<GatewayState> {
  const { to, secret } = options;
  const sealingSecret = (): Promise<SealingSecret> => Promise.resolve(secret);
  const who = { ...to, patient, trustDomain, schema, policy };
  const { state } = await enrol({ ...options, ...who, sealingSecret, signal });
  return state;
}

/**
 * Puts the baseline's samples into the new spool, once all that waits in the old one is decided on. From
 * here on, nothing is streamed from the old one.
 */
async function carryOver(
  options: MoveOptions,
  old: GatewayState,
  enrolled: GatewayState,
  there: Spool,
  signal: AbortSignal,
): Promise<GatewayState> {
  const { from, to, secret } = options;
  const spool = await openSpool({ ...options, ...from, patient: old.patient, secret });
  try {
    await deliver(options, from, old, spool, signal);
    const { decided, samples } = await baselineOf(options, old, signal);
    requireSameSeries(decided, spool.last, from.connection.peer);
    const moved = { ...enrolled, moved: { samples: samples.length, after: decided } };
    await writeState(to.directory, moved);
    await writeState(from.directory, { ...old, movedTo: to.directory });
    if (spool.recording !== undefined) there.beginRecording(spool.recording);
    await there.put(await encrypted(options, moved, samples, spool.lastMeasuredAt), signal);
    return moved;
  } finally {
    spool.close();
  }
}

/** Under the new key, numbered from 1. */
async function encrypted(
  { engine, random }: MoveOptions,
  state: GatewayState,
  samples: readonly PlainSample[],
  lastMeasuredAt: number | undefined,
): Promise<readonly SpooledSample[]> {
  const encoder = SampleEncoder.of(state, engine, random);
  const encoded = await encoder.encode(samples.map((one, i) => ({ ...one, sequence: i + 1 })));
  // The series' own time goes on from the last sample that was sent, which need not be among these.
  const measuredAt = lastMeasuredAt;
  return encoded.map((one, i) => (i === encoded.length - 1 ? { ...one, measuredAt } : one));
}

async function baselineOf(
  options: MoveOptions,
  state: GatewayState,
  signal: AbortSignal,
): Promise<Baseline> {
  const { engine, random, logger } = options;
  const { connection } = options.from;
  const secretKey = await requireSecretKey(options, state);
  return retrying(() => fetchBaseline(connection, state, secretKey, engine, signal), {
    deadlineMs: PATIENCE_MS,
    baseMs: 200,
    maxMs: 2000,
    random,
    signal,
    onRetry: (error, _attempt, pauseMs) => {
      logger.warn('trying again', { peer: connection.peer, error, pauseMs });
    },
  });
}

function hasItsOwn(directory: string): Error {
  return duoveilError(
    'CONFIG_INVALID',
    `--to-state: ${directory} holds a series that was begun there, which learns a baseline of its own: ` +
      'the patient has gone there without a move; stream from there',
    { path: 'toState' },
  );
}

/** @throws CONFIG_INVALID where the old directory has none; UNSEALING_FAILED */
async function requireSecretKey(
  { from: { directory }, secret }: MoveOptions,
  { patient, parameters }: GatewayState,
): Promise<SecretKey> {
  const secretKey = await readSecretKey(directory, patient, parameters, secret);
  if (secretKey !== undefined) return secretKey;
  throw duoveilError('CONFIG_INVALID', `--state: ${directory} holds no secret key`, {
    path: 'state',
  });
}

function requireSameSeries(decided: number, last: number, peer: string): void {
  if (decided === last) return;
  throw duoveilError(
    'SEQUENCE_CONFLICT',
    `the ${peer} has decided on sample ${String(decided)}, but ${String(last)} is the last one that was ` +
      'sent from here; is another gateway streaming for the same patient?',
    { sequence: BigInt(decided) },
  );
}
