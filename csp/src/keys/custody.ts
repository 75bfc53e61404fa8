import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { decodeParameters, encodeParameters, type PublicParameters } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import { decodeMasterKey, encodeFactors, type MasterKey } from '@duoveil/common/master';
import type { ModularEngine } from '@duoveil/common/modular';
import type { RandomSource } from '@duoveil/common/random';
import {
  readJsonFile,
  seal,
  systemErrorCode,
  unseal,
  writeFileAtomic,
  type SealingSecret,
} from '@duoveil/common/runtime';
import { access } from 'node:fs/promises';
import { z } from 'zod';

const hexadecimal = z.string().regex(/^([0-9a-f]{2})+$/, 'must be hexadecimal digits');

const parametersSchema = z.strictObject({
  version: z.int(),
  family: z.int(),
  modulus: hexadecimal,
  generator: hexadecimal,
  digest: hexadecimal,
});

/** The files of a CSP's state directory. */
function filesOf(directory: string): { parameters: string; masterKey: string } {
  return {
    parameters: join(directory, 'parameters.json'),
    masterKey: join(directory, 'master-key.sealed.json'),
  };
}

/** What a master key is sealed for: it does not open beside other parameters. */
function sealingContext(parameters: PublicParameters): string {
  return `csp-master-key/${parameters.digest}`;
}

/**
 * @throws DuoveilError `OPTION_INVALID` where the directory holds a master key already.
 */
export async function requireUnused(directory: string): Promise<void> {
  for (const file of Object.values(filesOf(directory))) {
    try {
      await access(file);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') continue;
      throw error;
    }
    throw duoveilError(
      'OPTION_INVALID',
      `--state: ${file} is there already: choose another directory`,
      {
        option: '--state',
      },
    );
  }
}

/** Seal a master key and write it down with its public parameters. It is never on disk in the clear. */
export async function storeMasterKey(
  directory: string,
  key: MasterKey,
  secret: SealingSecret,
  random: RandomSource,
): Promise<void> {
  const { parameters } = key;
  const encoded = encodeParameters(parameters);
  const factors = encodeFactors(key);
  try {
    const sealed = await seal(factors, secret, sealingContext(parameters), random);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const files = filesOf(directory);
    await writeFileAtomic(files.masterKey, `${JSON.stringify(sealed, null, 2)}\n`);
    const document = {
      ...encoded,
      modulus: encoded.modulus.toString('hex'),
      generator: encoded.generator.toString('hex'),
      digest: parameters.digest,
    };
    await writeFileAtomic(files.parameters, `${JSON.stringify(document, null, 2)}\n`, 0o644);
  } finally {
    factors.fill(0);
  }
}

/**
 * Read, unseal and check a master key.
 * @throws DuoveilError `CONFIG_INVALID`, `UNSEALING_FAILED`, `PARAMETERS_INVALID`
 */
export async function loadMasterKey(
  directory: string,
  secret: SealingSecret,
  engine: ModularEngine,
): Promise<MasterKey> {
  const files = filesOf(directory);
  const document = await readJsonFile(files.parameters, parametersSchema, '--state');
  const parameters = await decodeParameters(
    {
      version: document.version,
      family: document.family,
      modulus: Buffer.from(document.modulus, 'hex'),
      generator: Buffer.from(document.generator, 'hex'),
    },
    engine,
  );
  if (parameters.digest !== document.digest) {
    throw duoveilError('PARAMETERS_INVALID', 'parameters: digest does not belong to them', {
      field: 'digest',
    });
  }
  const envelope: unknown = await readJsonFile(files.masterKey, z.unknown(), '--state');
  const factors = await unseal(envelope, secret, sealingContext(parameters));
  try {
    return await decodeMasterKey(factors, parameters, engine);
  } finally {
    factors.fill(0);
  }
}
