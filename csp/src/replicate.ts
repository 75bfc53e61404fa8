import { loadEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import { systemClock } from '@duoveil/common/runtime';

import { Custody } from './keys/custody.js';

/**
 * Copy a custody to a replica's directory, or bring there what has changed. Needs no secret: everything
 * stays sealed under the same locks. Audit log and budgets are each replica's own.
 * @returns how many generations there are, retired ones too
 * @throws DuoveilError as {@link Custody.read} and {@link Custody.copyTo} do
 */
export async function replicate(from: string, to: string): Promise<number> {
  const engine = loadEngine();
  try {
    const now = (): Date => systemClock.now();
    const custody = await Custody.read(from, { engine, random: systemRandom, now });
    await custody.copyTo(to);
    return custody.generations.length;
  } finally {
    await engine.close();
  }
}
