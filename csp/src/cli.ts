import { access } from 'node:fs/promises';
import { join } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import { unlessStopped, withSettings } from '@duoveil/common/runtime';
import { Command } from 'commander';

import { describeAuditLog, verifyAuditLog } from './audit/audit-log.js';
import {
  AUDIT_FILE,
  cspAuditSettings,
  cspCustodySettings,
  cspInitSettings,
  cspReplicateSettings,
  cspRetireSettings,
  cspSettings,
  cspUnsealSettings,
} from './config.js';
import { retire, rotate, sealKeys, status, unseal } from './custody-commands.js';
import { init } from './init.js';
import { replicate } from './replicate.js';
import { serve } from './serve.js';

/** `duoveil csp …` */
export function cspCommand(): Command {
  const csp = new Command('csp').description(
    'the crypto service provider: holds the master key and opens only masked values',
  );
  withSettings(csp.command('init'), cspInitSettings, async (settings) => {
    const parameters = await unlessStopped(() => init(settings, print));
    print(
      `master key of ${String(parameters.bits)} bits sealed in ${settings.state}\n` +
        `parameters digest, to be pinned by everybody:\n${parameters.digest}\n`,
    );
  }).description('draw a master key, seal it, and print the digest of its public parameters');
  withSettings(csp.command('serve'), cspSettings, serve).description(
    'run a crypto service provider until it is asked to stop; without a secret it starts sealed',
  );
  addCustodyCommands(csp);
  withSettings(csp.command('replicate'), cspReplicateSettings, async ({ state, to }) => {
    const generations = await replicate(state, to);
    print(`${String(generations)} generations of sealed keys in ${to}\n`);
  }).description("copy the sealed keys to a replica's directory, or bring there what is new");
  withSettings(csp.command('audit'), cspAuditSettings, async ({ state }) => {
    const file = join(state, AUDIT_FILE);
    await requireThere(file);
    print(describeAuditLog(file, await verifyAuditLog(file)));
  }).description('verify the audit log, and print its length and the hash at its end');
  return csp;
}

/**
 * A log that is gone must not pass for one that is empty.
 * @throws DuoveilError `CONFIG_INVALID`
 */
async function requireThere(auditFile: string): Promise<void> {
  await access(auditFile).catch(() => {
    const why = 'no such file: a CSP makes it when it first starts on this directory';
    throw duoveilError('CONFIG_INVALID', `--state: ${auditFile}: ${why}`, { path: '--state' });
  });
}

/** What custodians do at a running CSP. Each prints where it stands afterwards. */
function addCustodyCommands(csp: Command): void {
  withSettings(csp.command('status'), cspCustodySettings, async (settings) => {
    print(await status(settings));
  }).description('show whether a running CSP is sealed, its locks and its generations of keys');
  withSettings(csp.command('unseal'), cspUnsealSettings, async (settings) => {
    print(await unseal(settings));
  }).description("give a running CSP a custodian's share, or the passphrase or key");
  withSettings(csp.command('seal'), cspCustodySettings, async (settings) => {
    print(await sealKeys(settings));
  }).description('have a running CSP drop its keys from memory');
  withSettings(csp.command('rotate'), cspCustodySettings, async (settings) => {
    print(await rotate(settings));
  }).description('have a running CSP draw a new generation of keys; those before stay in service');
  withSettings(csp.command('retire'), cspRetireSettings, async (settings) => {
    print(await retire(settings));
  }).description('have a running CSP delete the master key of an old generation, for good');
}

function print(text: string): void {
  process.stdout.write(text);
}
