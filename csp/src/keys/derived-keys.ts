import { hkdfSync } from 'node:crypto';

import { encodeFactors, type MasterKey } from '@duoveil/common/master';
import { Secret } from '@duoveil/common/secret';

import type { CustodyKey } from './locks.js';

/** Symmetric keys that only a holder of the master key has: the same on every replica and after a restart. */
export interface DerivedKeys {
  /** Seals the CSP's shares of models. */
  readonly sealing: Secret<Uint8Array>;
  /** Derives the randomness of answers from their requests. */
  readonly answers: Secret<Uint8Array>;
}

/** Derive them from the factors: HKDF-SHA-256, RFC 5869. */
export function deriveKeys(master: MasterKey): DerivedKeys {
  const factors = encodeFactors(master);
  const derive = (purpose: string): Secret<Uint8Array> =>
    new Secret(
      new Uint8Array(
        hkdfSync('sha256', factors, master.parameters.digest, `duoveil/csp/${purpose}/v1`, 32),
      ),
    );
  try {
    return {
      sealing: derive('model-share'),
      answers: derive('answers'),
    };
  } finally {
    factors.fill(0);
  }
}

/** Hashes names in the file of budgets: one key for all generations. */
export function deriveBudgetsKey(custodyKey: CustodyKey): Secret<Uint8Array> {
  return new Secret(
    new Uint8Array(hkdfSync('sha256', custodyKey.reveal(), '', 'duoveil/csp/budgets/v1', 32)),
  );
}
