import {
  decodeParameters,
  requirePinned,
  type ParametersDigest,
  type PublicParameters,
} from '@duoveil/common/bcp';
import type { ModularEngine } from '@duoveil/common/modular';
import { callUnary, type Connection } from '@duoveil/common/runtime';
import { ParametersServiceService as Parameters } from '@duoveil/proto';

import { CALL_DEADLINE_MS, misbehaved } from './calls.js';

/**
 * Fetch the CSP's public parameters and accept only the pinned ones.
 * @throws DuoveilError `PARAMETERS_MISMATCH`, `PARAMETERS_INVALID`, or what the call failed with
 */
export async function fetchParameters(
  connection: Connection,
  pinned: ParametersDigest,
  engine: ModularEngine,
): Promise<PublicParameters> {
  const { parameters } = await callUnary(
    connection,
    Parameters.getParameters,
    {},
    { deadlineMs: CALL_DEADLINE_MS },
  );
  if (parameters === undefined) throw misbehaved(connection, 'no parameters');
  const decoded = await decodeParameters(parameters, engine);
  requirePinned(decoded, pinned);
  return decoded;
}
