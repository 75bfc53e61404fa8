import { duoveilError } from '@duoveil/common/errors';
import { unary, type CallContext, type Service, type UnaryOptions } from '@duoveil/common/runtime';

import type { ServedGenerations } from '../keys/unsealed.js';
import type { Vault } from '../keys/vault.js';

/**
 * A service whose calls are answered by the generation of keys that they name, by the digest of its
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
    unary(options, (request: unknown, context: CallContext) =>
      vault.use((unsealed) => {
        const { services } = unsealed.find(context.parametersDigest);
        const service = services.find((one) => one.definition === definition);
        const method = service?.methods[name];
        if (method?.kind !== 'unary') throw notServed();
        return method.handle(request, context);
      }),
    ),
  ]);
  return { definition, methods: Object.fromEntries(methods) as Service['methods'] };
}

function notServed(): Error {
  return duoveilError('MESSAGE_INVALID', 'this generation of keys is of another family', {
    field: 'duoveil-parameters',
  });
}
