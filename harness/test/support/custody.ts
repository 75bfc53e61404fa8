/** A CSP's state directory, made and opened without a CSP. */
import { duoveilError } from '@duoveil/common/errors';
import type { MasterKey } from '@duoveil/common/master';
import type { ModularEngine } from '@duoveil/common/modular';
import { systemRandom, type RandomSource } from '@duoveil/common/random';
import type { SealingSecret } from '@duoveil/common/runtime';

import { Custody } from '../../../csp/src/keys/custody.js';

/** A directory as `csp init` leaves it: a first generation, and one lock. */
export async function storeMasterKey(
  directory: string,
  key: MasterKey,
  secret: SealingSecret,
  random: RandomSource,
): Promise<void> {
  const environment = { random, now: () => new Date() };
  await Custody.create(directory, key, { secrets: [secret] }, environment);
}

/**
 * The oldest generation's master key, unsealed and checked.
 * @throws DuoveilError `CONFIG_INVALID`, `UNSEALING_FAILED`, `PARAMETERS_INVALID`
 */
export async function loadMasterKey(
  directory: string,
  secret: SealingSecret,
  engine: ModularEngine,
): Promise<MasterKey> {
  const environment = { engine, random: systemRandom, now: () => new Date() };
  const custody = await Custody.read(directory, environment);
  const key = await custody.unlock(secret);
  if (key === undefined) throw duoveilError('UNSEALING_FAILED', 'no lock opens');
  const [oldest] = await custody.open(key);
  if (oldest === undefined) throw new Error('a custody has a generation');
  return oldest.key;
}
