import type { ParametersDigest } from '@duoveil/common/bcp';
import { callUnary, type Connection } from '@duoveil/common/runtime';
import { KeyServiceService as Keys } from '@duoveil/proto';

import type { Patient } from '../store/index.js';
import { callOptions } from './calls.js';
import { Registration } from './registration.js';

/** A patient's public key at the CSP, with the proof that its gateway made. */
export function patientKey(
  connection: Connection,
  digest: ParametersDigest,
  { id, key }: Patient,
): Registration {
  const request = {
    patientId: id,
    parametersDigest: Buffer.from(digest, 'hex'),
    publicKey: { h: Buffer.from(key.publicKey) },
    proof: { commitment: Buffer.from(key.commitment), response: Buffer.from(key.response) },
  };
  return new Registration(async (signal) => {
    const { keyId } = await callUnary(connection, Keys.registerKey, request, callOptions(signal));
    return keyId;
  });
}
