import { z } from 'zod';

import { GENERATOR_FAMILIES } from '@duoveil/common/bcp';
import { secretSetting, serverSettings } from '@duoveil/common/runtime';

/** The audit log's name in the state directory. */
export const AUDIT_FILE = 'audit.log';

const state = z.string().min(1).describe('directory of the sealed keys');

const secrets = {
  passphrase: secretSetting('file of a passphrase that unseals the keys').optional(),
  key: secretSetting('file of a key that unseals the keys: hexadecimal or base64').optional(),
};

/** Settings of `duoveil csp init`. */
export const cspInitSettings = z.strictObject({
  state,
  ...secrets,
  shares: z
    .string()
    .regex(/^\d{1,3}\/\d{1,3}$/, 'must be like 3/5: any 3 of 5 shares unseal')
    .optional()
    .describe('share between custodians: 3/5 for 5 shares, any 3 of which unseal'),
  sharesDirectory: z
    .string()
    .min(1)
    .optional()
    .describe('directory to write the shares to, a file each, instead of printing them'),
  keyBits: z
    .int()
    .min(512)
    .max(8192)
    .multipleOf(64, 'must be a multiple of 64')
    .default(2048)
    .describe('length of the modulus in bits'),
  generator: z
    .enum(GENERATOR_FAMILIES)
    .default('residue')
    .describe('family of the generator: residue, or bcp03 as in the paper of 2003'),
  insecureKeyBits: serverSettings.insecureKeyBits,
});

export type CspInitSettings = z.output<typeof cspInitSettings>;

/** Settings of `duoveil csp replicate`. */
export const cspReplicateSettings = z.strictObject({
  state,
  to: z.string().min(1).describe("directory of the replica's sealed keys; made if it is not there"),
});

/** Settings of `duoveil csp audit`. */
export const cspAuditSettings = z.strictObject({ state });

/** Where a running CSP is, and who asks. */
const running = {
  csp: z.string().min(1).describe('host:port of the CSP'),
  tls: z.string().min(1).describe("directory with the caller's ca.crt, tls.crt and tls.key"),
};

/** Settings of `duoveil csp unseal`. */
export const cspUnsealSettings = z.strictObject({
  ...running,
  share: secretSetting("file of a custodian's share").optional(),
  ...secrets,
});

/** Settings of `duoveil csp seal`, `rotate` and `status`. */
export const cspCustodySettings = z.strictObject(running);

/** Settings of `duoveil csp retire`. */
export const cspRetireSettings = z.strictObject({
  ...running,
  generation: z.int().min(1).describe('number of the generation, as status shows it'),
});

function count(value: number, description: string) {
  return z.int().min(0).default(value).describe(description);
}

/** Settings of `duoveil csp serve`. */
export const cspSettings = z.strictObject({
  ...serverSettings,
  state,
  ...secrets,
  allowDistance: z
    .boolean()
    .default(false)
    .describe('let service providers learn distances: distance output and the reference suite'),
  patientPerMinute: count(120, 'charged calls that a patient may have a minute; 0 for no bound'),
  patientPerDay: count(100_000, 'charged calls that a patient may have a day; 0 for no bound'),
  providerPerMinute: count(
    60_000,
    'charged calls that a service provider may have a minute; 0 for no bound',
  ),
  providerPerDay: count(
    10_000_000,
    'charged calls that a service provider may have a day; 0 for no bound',
  ),
});

export type CspSettings = z.output<typeof cspSettings>;
