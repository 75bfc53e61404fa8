/** Generations of keys on disk: public parameters, and the master key sealed under the custody key. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

import { decodeParameters, encodeParameters, type PublicParameters } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import { decodeMasterKey, encodeFactors, type MasterKey } from '@duoveil/common/master';
import type { ModularEngine } from '@duoveil/common/modular';
import type { RandomSource } from '@duoveil/common/random';
import {
  readJsonFile,
  seal,
  unseal,
  writeFileAtomic,
  writeNewFileAtomic,
} from '@duoveil/common/runtime';
import { z } from 'zod';

import type { CustodyKey } from './locks.js';

/** One generation of keys. */
export interface Generation {
  /** From 1; the newest has the greatest. */
  readonly number: number;
  readonly parameters: PublicParameters;
  readonly createdAt: Date;
  /** Since when there is no master key of it any more. */
  readonly retiredAt: Date | undefined;
  /** The master key, sealed; undefined once retired. */
  readonly sealedKey: unknown;
}

const hexadecimal = z.string().regex(/^([0-9a-f]{2})+$/, 'must be hexadecimal digits');

const generationSchema = z.strictObject({
  version: z.literal(1),
  number: z.int().min(1),
  createdAt: z.iso.datetime(),
  retiredAt: z.iso.datetime().optional(),
  parameters: z.strictObject({
    version: z.int(),
    family: z.int(),
    modulus: hexadecimal,
    generator: hexadecimal,
    digest: hexadecimal,
  }),
  sealedKey: z.unknown().optional(),
});

const FILE_NAME = /^generation-(\d{4,})\.json$/;

/** The file of a generation. */
export function generationFile(directory: string, number: number): string {
  return join(directory, `generation-${String(number).padStart(4, '0')}.json`);
}

/**
 * All generations of a directory, the oldest first. Needs no secret.
 * @throws DuoveilError `CONFIG_INVALID`, `PARAMETERS_INVALID`
 */
export async function readGenerations(
  directory: string,
  engine: ModularEngine,
): Promise<Generation[]> {
  const numbers = (await readdir(directory))
    .flatMap((name) => FILE_NAME.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
  const generations: Generation[] = [];
  for (const number of numbers) {
    generations.push(await readGeneration(generationFile(directory, number), number, engine));
  }
  return generations;
}

async function readGeneration(
  file: string,
  number: number,
  engine: ModularEngine,
): Promise<Generation> {
  const document = await readJsonFile(file, generationSchema, '--state');
  if (document.number !== number) {
    throw duoveilError('CONFIG_INVALID', `${file}: number: is that of another file`, {
      path: 'number',
    });
  }
  const { version, family, modulus, generator, digest } = document.parameters;
  const encoded = {
    ...{ version, family },
    modulus: Buffer.from(modulus, 'hex'),
    generator: Buffer.from(generator, 'hex'),
  };
  const parameters = await decodeParameters(encoded, engine);
  if (parameters.digest !== digest) {
    throw duoveilError('PARAMETERS_INVALID', 'parameters: digest does not belong to them', {
      field: 'digest',
    });
  }
  const { createdAt, retiredAt, sealedKey } = document;
  return {
    ...{ number, parameters, sealedKey },
    createdAt: new Date(createdAt),
    retiredAt: retiredAt === undefined ? undefined : new Date(retiredAt),
  };
}

/** Seal a master key under the custody key: it opens as this generation and with these parameters only. */
export async function sealGeneration(
  number: number,
  key: MasterKey,
  custodyKey: CustodyKey,
  random: RandomSource,
  now: Date,
): Promise<Generation> {
  const { parameters } = key;
  const factors = encodeFactors(key);
  try {
    const secret = { kind: 'key', key: custodyKey } as const;
    const sealedKey = await seal(factors, secret, sealingContext(number, parameters), random);
    return { number, parameters, createdAt: now, retiredAt: undefined, sealedKey };
  } finally {
    factors.fill(0);
  }
}

/** Write a generation down, in place of what its file held. */
export async function writeGeneration(directory: string, generation: Generation): Promise<void> {
  const file = generationFile(directory, generation.number);
  await writeFileAtomic(file, encodeGeneration(generation));
}

/**
 * Write a new generation down.
 * @throws DuoveilError `STORAGE_FAILED` where there is one of this number: its key is nowhere else
 */
export async function writeNewGeneration(directory: string, generation: Generation): Promise<void> {
  const file = generationFile(directory, generation.number);
  await writeNewFileAtomic(file, encodeGeneration(generation));
}

function encodeGeneration(generation: Generation): string {
  const { number, parameters, createdAt, retiredAt, sealedKey } = generation;
  const encoded = encodeParameters(parameters);
  const document: z.input<typeof generationSchema> = {
    version: 1,
    number,
    createdAt: createdAt.toISOString(),
    ...(retiredAt !== undefined && { retiredAt: retiredAt.toISOString() }),
    parameters: {
      ...encoded,
      modulus: encoded.modulus.toString('hex'),
      generator: encoded.generator.toString('hex'),
      digest: parameters.digest,
    },
    ...(sealedKey !== undefined && { sealedKey }),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/**
 * Unseal and check a generation's master key.
 * @throws DuoveilError `UNSEALING_FAILED`, `PARAMETERS_INVALID`
 */
export async function openGeneration(
  { number, parameters, sealedKey }: Generation,
  custodyKey: CustodyKey,
  engine: ModularEngine,
): Promise<MasterKey> {
  const secret = { kind: 'key', key: custodyKey } as const;
  const factors = await unseal(sealedKey, secret, sealingContext(number, parameters));
  try {
    return await decodeMasterKey(factors, parameters, engine);
  } finally {
    factors.fill(0);
  }
}

/** A generation without its master key. */
export function retired(generation: Generation, now: Date): Generation {
  return { ...generation, retiredAt: now, sealedKey: undefined };
}

function sealingContext(number: number, { digest }: PublicParameters): string {
  return `csp-master-key/${String(number)}/${digest}`;
}
