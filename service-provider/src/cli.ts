import { withSettings } from '@duoveil/common/runtime';
import { Command } from 'commander';

import { spSettings } from './config.js';
import { serve } from './serve.js';

/** `duoveil sp …` */
export function spCommand(): Command {
  const sp = new Command('sp').description(
    'the service provider: holds ciphertexts and watches patients, never a decryption key',
  );
  withSettings(sp.command('serve'), spSettings, serve).description(
    'run a service provider until it is asked to stop',
  );
  return sp;
}
