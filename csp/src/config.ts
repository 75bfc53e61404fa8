import { z } from 'zod';

import { GENERATOR_FAMILIES } from '@duoveil/common/bcp';
import { secretSetting, serverSettings } from '@duoveil/common/runtime';

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

/** Settings of `duoveil csp serve`. */
export const cspSettings = z.strictObject({ ...serverSettings, ...custody });

export type CspSettings = z.output<typeof cspSettings>;
