import { parseParametersDigest } from '@duoveil/common/bcp';
import { systemClock, unlessStopped, withSettings } from '@duoveil/common/runtime';
import { Command } from 'commander';

import { backUp } from './backup/backup.js';
import type { Counts } from './backup/format.js';
import { restore } from './backup/restore.js';
import { spBackupSettings, spRestoreSettings, spSettings, storeLocation } from './config.js';
import { serve } from './serve.js';

/** `duoveil sp …` */
export function spCommand(): Command {
  const sp = new Command('sp').description(
    'the service provider: holds ciphertexts and watches patients, never a decryption key',
  );
  withSettings(sp.command('serve'), spSettings, serve).description(
    'run a service provider until it is asked to stop',
  );
  withSettings(sp.command('backup'), spBackupSettings, async (settings) => {
    const location = storeLocation(settings);
    const counts = await unlessStopped(() => backUp(location, settings.out, systemClock));
    process.stdout.write(`${settings.out}: ${contents(counts)}\n`);
  }).description('copy a store as it is at one moment, while service providers go on with it');
  withSettings(sp.command('restore'), spRestoreSettings, async (settings) => {
    const location = storeLocation(settings);
    const digest = settings.parametersDigest;
    const expected = digest && parseParametersDigest(digest, '--parameters-digest');
    const counts = await unlessStopped(() => restore(settings.in, location, expected));
    process.stdout.write(`restored ${contents(counts)}\n`);
  }).description('put a backup into an empty store');
  return sp;
}

/** Says how much there is, and of whom nothing. */
function contents({ patients = 0, samples = 0, models = 0, decisions = 0 }: Counts): string {
  return `${String(patients)} patients, ${String(samples)} samples, ${String(models)} models, ${String(decisions)} decisions`;
}
