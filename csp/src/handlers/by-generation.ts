import { duoveilError } from '@duoveil/common/errors';
import { unary, type Service, type UnaryOptions } from '@duoveil/common/runtime';

import type { ServedGenerations } from '../keys/unsealed.js';
import type { Vault } from '../keys/vault.js';

/**
 * A service whose calls are answered by the generation of keys that they name, with the digest of its
 * parameters; a call that names none is for the oldest. While the CSP is sealed every call is refused
 * with `CSP_SEALED`.
 * @param options of every method
 */
export function byGeneration(
  definition: Service['definition'],
  options: UnaryOptions,
  vault: Vault<ServedGenerations>,
): Service {
  const methods = Object.keys(definition).map((name) => [
    name,
    unary(options, (request: unknown, context) =>
      vault.use((unsealed) => {
        const { services } = unsealed.find(digestIn(request));
        const service = services.find((one) => one.definition === definition);
        const method = service?.methods[name];
        if (method?.kind !== 'unary') throw notServed();
        return method.handle(request, context);
      }),
    ),
  ]);
  return { definition, methods: Object.fromEntries(methods) as Service['methods'] };
}

/** The digest in a request's `parameters_digest`; undefined where it has none. */
function digestIn(request: unknown): string | undefined {
  if (typeof request !== 'object' || request === null) return undefined;
  const { parametersDigest } = request as { parametersDigest?: unknown };
  if (!Buffer.isBuffer(parametersDigest) || parametersDigest.length === 0) return undefined;
  return parametersDigest.toString('hex');
}

function notServed(): Error {
  return duoveilError('MESSAGE_INVALID', 'this generation of keys is of another family', {
    field: 'parameters_digest',
  });
}
