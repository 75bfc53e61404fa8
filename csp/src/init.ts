import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';

import type { PublicParameters } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import { setUp } from '@duoveil/common/master';
import { loadEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import {
  requireSecureBits,
  systemClock,
  systemErrorCode,
  writeNewFileAtomic,
} from '@duoveil/common/runtime';

import type { CspInitSettings } from './config.js';
import { Custody, requireUnused } from './keys/custody.js';
import type { LockRequest } from './keys/locks.js';
import { armourShare, MAX_SHARES, type HandedShare, type Sharing } from './keys/shares.js';
import { givenSecrets } from './unsealing-secrets.js';

/**
 * Set a new cryptosystem up: draw the master key of the first generation, seal it, write it down.
 * @param print is given the shares that are not written to files
 * @throws DuoveilError `OPTION_INVALID` where the directory is in use, or that for shares, the modulus too
 * short, or nothing is there to seal with; `CONFIG_INVALID`
 */
export async function init(
  settings: CspInitSettings,
  print: (text: string) => void,
): Promise<PublicParameters> {
  requireSecureBits(settings.keyBits, settings.insecureKeyBits);
  const request = lockRequest(settings);
  await requireUnused(settings.state);
  await requireNoShares(settings.sharesDirectory);
  const engine = loadEngine();
  const options = { bits: settings.keyBits, family: settings.generator };
  const key = await setUp(options, engine, systemRandom);
  const environment = { random: systemRandom, now: () => systemClock.now() };
  await Custody.create(settings.state, key, request, environment, (shares) =>
    handOut(shares, settings.sharesDirectory, print),
  );
  await engine.close();
  return key.parameters;
}

function lockRequest(settings: CspInitSettings): LockRequest {
  const secrets = givenSecrets(settings);
  const sharing = settings.shares === undefined ? undefined : parseSharing(settings.shares);
  if (secrets.length === 0 && sharing === undefined) {
    throw duoveilError(
      'OPTION_INVALID',
      'the master key must be sealed with something: set --passphrase-file or DUOVEIL_PASSPHRASE, ' +
        '--key-file or DUOVEIL_KEY, or --shares',
      { option: '--passphrase-file' },
    );
  }
  return { secrets, sharing };
}

function parseSharing(text: string): Sharing {
  const [threshold = 0, count = 0] = text.split('/').map(Number);
  if (threshold < 2 || threshold > count || count > MAX_SHARES) {
    throw duoveilError(
      'OPTION_INVALID',
      `--shares: ${text}: must be k/n with 2 ≤ k ≤ n ≤ ${String(MAX_SHARES)}`,
      { option: '--shares' },
    );
  }
  return { threshold, count };
}

/**
 * The shares that are in a directory open another custody, and nobody may have a copy of them yet.
 * @throws DuoveilError `OPTION_INVALID` where there are some
 */
async function requireNoShares(directory: string | undefined): Promise<void> {
  if (directory === undefined) return;
  const names = await readdir(directory).catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  });
  const share = names.find((name) => SHARE_FILE.test(name));
  if (share === undefined) return;
  throw duoveilError(
    'OPTION_INVALID',
    `--shares-directory: ${join(directory, share)} is there already: choose another directory`,
    { option: '--shares-directory' },
  );
}

const SHARE_FILE = /^share-\d+-of-\d+\.txt$/;

async function handOut(
  shares: readonly HandedShare[],
  directory: string | undefined,
  print: (text: string) => void,
): Promise<void> {
  if (directory === undefined) {
    for (const share of shares) print(armourShare(share));
    return;
  }
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const share of shares) {
    const name = `share-${String(share.index)}-of-${String(share.count)}.txt`;
    await writeNewFileAtomic(join(directory, name), armourShare(share));
  }
}
