import { encodeParameters, requireMeant, type PublicParameters } from '@duoveil/common/bcp';
import type { GetParametersResponse } from '@duoveil/proto';

/** The public parameters, to gateways: they compare them with the digest that they pin. */
export function parametersResponse(parameters: PublicParameters): GetParametersResponse {
  return { parameters: encodeParameters(parameters) };
}

/**
 * A peer states by their digest which parameters it means.
 * @throws DuoveilError `PARAMETERS_MISMATCH`
 */
export function requireParameters(digest: Uint8Array, parameters: PublicParameters): void {
  requireMeant(parameters, digest);
}
