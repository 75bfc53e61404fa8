/** What seals the keys of simulated patients: they have nothing to protect. */
import type { SealingSecret } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';

/** The key in hexadecimal, as a key file holds it. */
export const SEALING_KEY_HEX = '01'.repeat(32);

/** The same as it is used. */
export const SEALING_KEY: SealingSecret = {
  kind: 'key',
  key: new Secret<Uint8Array>(Buffer.from(SEALING_KEY_HEX, 'hex')),
};
