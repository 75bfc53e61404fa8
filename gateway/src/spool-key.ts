/**
 * The key of a patient's spool: made at enrolment, kept in the state directory under the secret that
 * seals the patient's own key. Streaming needs it, so whoever streams needs that secret.
 */
import { duoveilError } from '@duoveil/common/errors';
import type { RandomSource } from '@duoveil/common/random';
import { readJsonFile, seal, unseal, writeFileAtomic } from '@duoveil/common/runtime';
import type { Logger, PatientId, SealingSecret } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { z } from 'zod';

import { Spool } from './spool.js';
import type { SpoolBounds } from './spool.js';
import { isThere, makeDirectory, stateFiles } from './state-files.js';

const KEY_BYTES = 32;

/** Does the directory hold a spool key? */
export async function hasSpoolKey(directory: string): Promise<boolean> {
  return isThere(stateFiles(directory).spoolKey);
}

/** Draws a spool key, seals it and writes it. The directory is made if need be. */
export async function writeSpoolKey(
  directory: string,
  patient: PatientId,
  secret: SealingSecret,
  random: RandomSource,
): Promise<void> {
  await makeDirectory(directory);
  const key = random.bytes(KEY_BYTES);
  try {
    const envelope = await seal(key, secret, contextOf(patient), random);
    await writeFileAtomic(stateFiles(directory).spoolKey, `${JSON.stringify(envelope, null, 2)}\n`);
  } finally {
    key.fill(0);
  }
}

/** Whose spool to open, and how. */
export interface OpenSpoolOptions extends SpoolBounds {
  /** The state directory of a patient who is enrolled. */
  readonly directory: string;
  readonly patient: PatientId;
  /** What sealed the patient's keys at enrolment. */
  readonly secret: SealingSecret;
  readonly random: RandomSource;
  readonly logger: Logger;
}

/**
 * Opens the spool of a state directory.
 * @throws CONFIG_INVALID where the directory holds no spool key; UNSEALING_FAILED for a wrong secret;
 * as {@link Spool.open}
 */
export async function openSpool(options: OpenSpoolOptions): Promise<Spool> {
  const { directory, patient, secret } = options;
  const { spool, spoolKey } = stateFiles(directory);
  if (!(await hasSpoolKey(directory))) {
    throw duoveilError(
      'CONFIG_INVALID',
      `state: ${directory} holds no spool key; run "duoveil gateway enrol" again, which makes one`,
      { path: 'state' },
    );
  }
  const envelope = await readJsonFile(spoolKey, z.unknown(), 'state');
  const bytes = await unseal(envelope, secret, contextOf(patient));
  const key = new Secret<Uint8Array>(bytes);
  try {
    return Spool.open(spool, { ...options, key });
  } finally {
    // The spool has derived its own from it.
    key.forget();
  }
}

function contextOf(patient: PatientId): string {
  return `gateway-spool-key/${patient}`;
}
