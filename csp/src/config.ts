import { z } from 'zod';

import { GENERATOR_FAMILIES } from '@duoveil/common/bcp';
import { secretSetting, serverSettings } from '@duoveil/common/runtime';

/** The audit log's name in the state directory. */
export const AUDIT_FILE = 'audit.log';

const custody = {
  /** Where the public parameters and the sealed master key are. */
  state: z.string().min(1).describe('directory of the parameters and the sealed master key'),
  /** Seals and unseals the master key. */
  passphrase: secretSetting('file of the passphrase that seals the master key'),
};

/** Settings of `duoveil csp init`. */
export const cspInitSettings = z.strictObject({
  ...custody,
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

/** Settings of `duoveil csp audit`. */
export const cspAuditSettings = z.strictObject({ state: custody.state });

function count(value: number, description: string) {
  return z.int().min(0).default(value).describe(description);
}

/** Settings of `duoveil csp serve`. */
export const cspSettings = z.strictObject({
  ...serverSettings,
  ...custody,
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
