import { proveWellFormed, type AdditiveKeyPair } from '@duoveil/common/paillier';
import { bytesFromInteger } from '@duoveil/common/random';
import { callUnary, type Connection } from '@duoveil/common/runtime';
import { PackedServiceService as Packed } from '@duoveil/proto';

import { callOptions } from './calls.js';
import { Registration } from './registration.js';

/** This process's own additive key, and its registration at the CSP. It lives in memory only. */
export interface ProviderKey {
  readonly keys: AdditiveKeyPair;
  readonly registration: Registration;
}

/** Made known to the CSP with a proof that the modulus is well formed. */
export function providerKey(keys: AdditiveKeyPair, connection: Connection): ProviderKey {
  return { keys, registration: new Registration((signal) => register(keys, connection, signal)) };
}

async function register(
  { key, opening }: AdditiveKeyPair,
  connection: Connection,
  signal: AbortSignal,
): Promise<Buffer> {
  const width = key.elementBytes / 2;
  const roots = await proveWellFormed(key.modulus, opening);
  const request = {
    modulus: bytesFromInteger(key.modulus, width),
    generator: bytesFromInteger(key.generator, key.elementBytes),
    roots: roots.map((root) => bytesFromInteger(root, width)),
  };
  const { providerKeyId } = await callUnary(
    connection,
    Packed.registerProviderKey,
    request,
    callOptions(signal),
  );
  return providerKeyId;
}
