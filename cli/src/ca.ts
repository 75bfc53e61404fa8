import { access } from 'node:fs/promises';
import { join } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import {
  createAuthority,
  defaultTrustDomain,
  issuedCertificates,
  issueFrom,
  parseIdentity,
  revokeFrom,
  roles,
  serialNumberOf,
  systemClock,
  withSettings,
  writeAuthority,
  type Identity,
} from '@duoveil/common/runtime';
import { Command } from 'commander';
import { z } from 'zod';

const directory = z.string().min(1).describe('directory of the authority: ca.crt and ca.key');
const days = z.int().min(1).max(3650);

const initSettings = z.strictObject({
  dir: directory,
  days: days.default(365).describe('validity in days'),
});

const issueSettings = z.strictObject({
  dir: directory,
  out: z.string().min(1).describe('directory to write ca.crt, tls.crt and tls.key to'),
  role: z.enum(roles).describe(`one of ${roles.join(', ')}`),
  name: z
    .string()
    .min(1)
    .optional()
    .describe('the patient of a gateway, or the name of an operator, auditor or custodian'),
  hosts: z
    .array(z.string().min(1))
    .default(['localhost', '127.0.0.1', '::1'])
    .describe('host names and addresses of a server, separated by commas'),
  trustDomain: z.string().min(1).default(defaultTrustDomain).describe('name of the deployment'),
  days: days.default(90).describe('validity in days'),
});

const listSettings = z.strictObject({ dir: directory });

const revokeSettings = z.strictObject({
  dir: directory,
  serial: z
    .string()
    .regex(/^[0-9A-Fa-f]{1,40}$/, 'must be hexadecimal, as "duoveil ca list" shows it')
    .optional()
    .describe('serial number of the certificate to take back'),
  certificate: z.string().min(1).optional().describe('or its file'),
  days: days.default(30).describe('validity of the revocation list in days'),
});

/** `duoveil ca …`: a certificate authority for development. */
export function caCommand(): Command {
  const ca = new Command('ca').description(
    'a certificate authority for development: deployments use their own',
  );
  withSettings(ca.command('init'), initSettings, async (settings) => {
    await requireAbsent(join(settings.dir, 'ca.key'));
    const authority = await createAuthority({
      commonName: 'duoveil development CA',
      days: settings.days,
      now: systemClock.now(),
    });
    await writeAuthority(settings.dir, authority);
    process.stdout.write(`authority written to ${settings.dir}\n`);
  }).description('make an authority');
  withSettings(ca.command('issue'), issueSettings, async (settings) => {
    const identity = identityOf(settings);
    const serialNumber = await issueFrom(settings.dir, settings.out, {
      identity,
      hosts: identity.role === 'csp' || identity.role === 'sp' ? settings.hosts : [],
      days: settings.days,
      now: systemClock.now(),
    });
    process.stdout.write(
      `certificate and key written to ${settings.out}\nserial number ${serialNumber}\n`,
    );
  }).description('issue a role certificate');
  withSettings(ca.command('list'), listSettings, async ({ dir }) => {
    for (const { serialNumber, identity, validTo, revokedAt } of await issuedCertificates(dir)) {
      const until = `valid to ${validTo.toISOString()}`;
      const fate = revokedAt === undefined ? until : `revoked at ${revokedAt.toISOString()}`;
      process.stdout.write(`${serialNumber} ${identity} ${fate}\n`);
    }
  }).description('list the certificates that were issued');
  withSettings(ca.command('revoke'), revokeSettings, async (settings) => {
    const { dir, serial, certificate, days: valid } = settings;
    if (serial !== undefined && certificate !== undefined) {
      throw duoveilError('OPTION_INVALID', '--serial: not together with --certificate', {
        option: '--serial',
      });
    }
    const serialNumber = certificate === undefined ? serial : await serialNumberOf(certificate);
    const count = await revokeFrom(dir, serialNumber, { days: valid, now: systemClock.now() });
    process.stdout.write(
      `${join(dir, 'ca.crl')} takes back ${String(count)} in all: ` +
        "copy it into every party's --tls directory\n",
    );
  }).description('take a certificate back, or renew the list of those taken back');
  return ca;
}

/** @throws DuoveilError `OPTION_INVALID` */
function identityOf({ trustDomain, role, name }: z.output<typeof issueSettings>): Identity {
  const uri = `spiffe://${trustDomain}/${role}${name === undefined ? '' : `/${name}`}`;
  const identity = parseIdentity(uri);
  if (identity === undefined) {
    throw duoveilError(
      'OPTION_INVALID',
      `--name: ${role} ${role === 'csp' || role === 'sp' ? 'takes no name' : 'needs a name of 1 to 64 of A-Z, a-z, 0-9, ".", "_", "-"'}`,
      { option: '--name' },
    );
  }
  return identity;
}

async function requireAbsent(file: string): Promise<void> {
  const present = await access(file).then(
    () => true,
    () => false,
  );
  if (present) {
    throw duoveilError('OPTION_INVALID', `--dir: ${file} is there already`, { option: '--dir' });
  }
}
