import type { PublicParameters } from '@duoveil/common/bcp';
import { setUp } from '@duoveil/common/master';
import { loadEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import { requireSecureBits } from '@duoveil/common/runtime';

import type { CspInitSettings } from './config.js';
import { requireUnused, storeMasterKey } from './keys/custody.js';

/**
 * Set a new cryptosystem up: draw the master key, seal it, write it down.
 * @throws DuoveilError `OPTION_INVALID` where the directory is in use or the modulus too short.
 */
export async function init(settings: CspInitSettings): Promise<PublicParameters> {
  requireSecureBits(settings.keyBits, settings.insecureKeyBits);
  await requireUnused(settings.state);
  const engine = loadEngine();
  const key = await setUp(
    { bits: settings.keyBits, family: settings.generator },
    engine,
    systemRandom,
  );
  const secret = { kind: 'passphrase', passphrase: settings.passphrase } as const;
  await storeMasterKey(settings.state, key, secret, systemRandom);
  await engine.close();
  return key.parameters;
}
