/**
 * What a gateway keeps of an enrolment: `gateway.json` holds what encrypting needs and nothing secret,
 * `secret-key.json` the sealed secret key.
 */
import {
  decodeSecretKey,
  encodeSecretKey,
  GENERATOR_FAMILIES,
  publicParameters,
} from '@duoveil/common/bcp';
import type { EncodedKey, PublicParameters, SecretKey } from '@duoveil/common/bcp';
import { parsePolicy, parseSchema, policyToJson } from '@duoveil/common/encoding';
import type { MonitoringPolicy, Schema } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { bytesFromInteger } from '@duoveil/common/random';
import type { RandomSource } from '@duoveil/common/random';
import { isPatientId, readJsonFile, seal, unseal, writeFileAtomic } from '@duoveil/common/runtime';
import type { PatientId, SealingSecret } from '@duoveil/common/runtime';
import { z } from 'zod';

import { isThere, makeDirectory, stateFiles } from './state-files.js';

/** An enrolled patient, as its own gateway knows it. Nothing here is secret. */
export interface GatewayState {
  readonly patient: PatientId;
  /** The deployment that the patient belongs to. */
  readonly trustDomain: string;
  /** The parameters that were checked and pinned at enrolment. */
  readonly parameters: PublicParameters;
  /** The public key with its proof of possession, as they travel. */
  readonly key: EncodedKey;
  readonly schema: Schema;
  readonly policy: MonitoringPolicy;
  /** Where the patient came here from another generation of keys. */
  readonly moved?: Moved | undefined;
  /** The state directory that the patient has been moved to: this one is not streamed from any more. */
  readonly movedTo?: string | undefined;
}

/** What a series that was moved begins with. */
export interface Moved {
  /** So many samples come first: those that the baseline goes on from. */
  readonly samples: number;
  /** They follow this complete row of the series before, counted from 1; it and all before it have their decisions there. */
  readonly after: number;
}

const hex = z.string().regex(/^([0-9a-f]{2})+$/, 'must be bytes in lower-case hexadecimal');
const integer = z
  .string()
  .regex(/^[0-9a-f]+$/, 'must be an integer in lower-case hexadecimal')
  .transform((text) => BigInt(`0x${text}`));
const bytes = hex.transform((text) => Buffer.from(text, 'hex'));

const fileSchema = z.strictObject({
  version: z.literal(1),
  patient: z.string().refine(isPatientId, 'must be a pseudonym'),
  trustDomain: z.string().min(1),
  parameters: z.strictObject({
    digest: z.string(),
    family: z.enum(GENERATOR_FAMILIES),
    modulus: integer,
    generator: integer,
  }),
  publicKey: bytes,
  proof: z.strictObject({ commitment: bytes, response: bytes }),
  schema: z.unknown(),
  policy: z.unknown(),
  moved: z.strictObject({ samples: z.int().min(0), after: z.int().min(0) }).optional(),
  movedTo: z.string().min(1).optional(),
});

/**
 * Reads the state of a patient; undefined where the directory holds none.
 * @throws CONFIG_INVALID, SCHEMA_INVALID where the file is damaged
 */
export async function readState(directory: string): Promise<GatewayState | undefined> {
  const { gateway } = stateFiles(directory);
  if (!(await isThere(gateway))) return undefined;
  const content = await readJsonFile(gateway, fileSchema, 'state');
  const { family, modulus, generator, digest } = content.parameters;
  const parameters = publicParameters(family, modulus, generator);
  if (parameters.digest !== digest) {
    const message = `${gateway}: parameters: do not have the digest that stands beside them`;
    throw duoveilError('CONFIG_INVALID', message, { path: 'parameters' });
  }
  const schema = parseSchema(content.schema, gateway);
  return {
    patient: content.patient,
    trustDomain: content.trustDomain,
    parameters,
    key: { publicKey: content.publicKey, ...content.proof },
    schema,
    policy: parsePolicy(content.policy, schema, gateway),
    ...(content.moved !== undefined && { moved: content.moved }),
    ...(content.movedTo !== undefined && { movedTo: content.movedTo }),
  };
}

/**
 * The same where there has to be one.
 * @throws CONFIG_INVALID where the directory holds none
 */
export async function requireState(directory: string): Promise<GatewayState> {
  const state = await readState(directory);
  if (state !== undefined) return state;
  throw duoveilError(
    'CONFIG_INVALID',
    `state: ${directory} holds no enrolled patient; run "duoveil gateway enrol" first`,
    { path: 'state' },
  );
}

/**
 * A directory that the patient was moved away from is not streamed from.
 * @throws CONFIG_INVALID
 */
export function requireNotMoved({ patient, movedTo }: GatewayState): void {
  if (movedTo === undefined) return;
  throw duoveilError(
    'CONFIG_INVALID',
    `state: ${patient} was moved to another generation of keys; the state directory is ${movedTo} now`,
    { path: 'state' },
  );
}

/**
 * Writes the state, all of it or nothing. The directory is made if need be.
 * @throws STORAGE_FULL, STORAGE_FAILED
 */
export async function writeState(directory: string, state: GatewayState): Promise<void> {
  const { patient, trustDomain, parameters, key, schema, policy, moved, movedTo } = state;
  const content: z.input<typeof fileSchema> = {
    version: 1,
    patient,
    trustDomain,
    parameters: {
      digest: parameters.digest,
      family: parameters.family,
      modulus: parameters.modulus.toString(16),
      generator: bytesFromInteger(parameters.generator, parameters.elementBytes).toString('hex'),
    },
    publicKey: toHex(key.publicKey),
    proof: { commitment: toHex(key.commitment), response: toHex(key.response) },
    schema,
    policy: policyToJson(policy),
    moved,
    movedTo,
  };
  await makeDirectory(directory);
  await writeFileAtomic(stateFiles(directory).gateway, `${JSON.stringify(content, null, 2)}\n`);
}

/**
 * Opens the sealed secret key; undefined where the directory holds none.
 * @throws UNSEALING_FAILED, KEY_INVALID where it belongs to other parameters
 */
export async function readSecretKey(
  directory: string,
  patient: PatientId,
  parameters: PublicParameters,
  secret: SealingSecret,
): Promise<SecretKey | undefined> {
  const { secretKey } = stateFiles(directory);
  if (!(await isThere(secretKey))) return undefined;
  const envelope = await readJsonFile(secretKey, z.unknown(), 'state');
  const plaintext = await unseal(envelope, secret, sealingContext(patient));
  try {
    return decodeSecretKey(plaintext, parameters);
  } finally {
    plaintext.fill(0);
  }
}

/** Seals the secret key and writes it. The directory is made if need be. */
export async function writeSecretKey(
  directory: string,
  patient: PatientId,
  parameters: PublicParameters,
  key: SecretKey,
  secret: SealingSecret,
  random: RandomSource,
): Promise<void> {
  await makeDirectory(directory);
  const plaintext = encodeSecretKey(key, parameters);
  try {
    const envelope = await seal(plaintext, secret, sealingContext(patient), random);
    await writeFileAtomic(
      stateFiles(directory).secretKey,
      `${JSON.stringify(envelope, null, 2)}\n`,
    );
  } finally {
    plaintext.fill(0);
  }
}

/**
 * What the directory's secret key is sealed with; undefined where it holds none.
 * @throws CONFIG_INVALID where the file is damaged
 */
export async function secretKeySealing(
  directory: string,
): Promise<'passphrase' | 'key' | undefined> {
  const { secretKey } = stateFiles(directory);
  if (!(await isThere(secretKey))) return undefined;
  const form = z.object({ kdf: z.object({ name: z.string() }) });
  const { kdf } = await readJsonFile(secretKey, form, 'state');
  return kdf.name === 'scrypt' ? 'passphrase' : 'key';
}

function sealingContext(patient: PatientId): string {
  return `gateway-secret-key/${patient}`;
}

function toHex(value: Uint8Array): string {
  return Buffer.from(value).toString('hex');
}
