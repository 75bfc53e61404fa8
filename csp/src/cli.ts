import { join } from 'node:path';

import { unlessStopped, withSettings } from '@duoveil/common/runtime';
import { Command } from 'commander';

import { describeAuditLog, verifyAuditLog } from './audit/audit-log.js';
import { AUDIT_FILE, cspAuditSettings, cspInitSettings, cspSettings } from './config.js';
import { init } from './init.js';
import { serve } from './serve.js';

/** `duoveil csp …` */
export function cspCommand(): Command {
  const csp = new Command('csp').description(
    'the crypto service provider: holds the master key and opens only masked values',
  );
  withSettings(csp.command('init'), cspInitSettings, async (settings) => {
    const parameters = await unlessStopped(() => init(settings));
    process.stdout.write(
      `master key of ${String(parameters.bits)} bits sealed in ${settings.state}\n` +
        `parameters digest, to be pinned by everybody:\n${parameters.digest}\n`,
    );
  }).description('draw a master key, seal it, and print the digest of its public parameters');
  withSettings(csp.command('serve'), cspSettings, serve).description(
    'run a crypto service provider until it is asked to stop',
  );
  withSettings(csp.command('audit'), cspAuditSettings, async ({ state }) => {
    const file = join(state, AUDIT_FILE);
    process.stdout.write(describeAuditLog(file, await verifyAuditLog(file)));
  }).description('verify the audit log, and print its length and the hash at its end');
  return csp;
}
