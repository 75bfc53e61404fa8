import { duoveilError } from '@duoveil/common/errors';
import { Secret } from '@duoveil/common/secret';
import { readSettingFile } from '@duoveil/common/runtime';
import type { SealingSecret } from '@duoveil/common/runtime';

/** Where the secret may come from that seals a patient's keys: its own, and its spool's. */
export interface SealingSettings {
  readonly passphrase?: Secret<string> | undefined;
  /** Path of a file with a key: 32 bytes as they are, or 64 hexadecimal digits. */
  readonly keyFile?: string | undefined;
}

/**
 * What seals a patient's keys: a passphrase or a key.
 * @throws OPTION_INVALID where there is none, or both; CONFIG_INVALID for a file that holds no key
 */
export async function sealingSecret(settings: SealingSettings): Promise<SealingSecret> {
  const { passphrase, keyFile } = settings;
  if ((passphrase === undefined) === (keyFile === undefined)) {
    throw duoveilError(
      'OPTION_INVALID',
      `the patient's keys are sealed with one secret, not ${keyFile === undefined ? 'none' : 'two'}: set ` +
        '--passphrase-file, or DUOVEIL_GATEWAY_PASSPHRASE, or --key-file',
      { option: '--passphrase-file' },
    );
  }
  if (keyFile !== undefined) return { kind: 'key', key: await readKey(keyFile) };
  if (passphrase === undefined) throw new Error('one of the two is there');
  return { kind: 'passphrase', passphrase };
}

/** Lets go of a secret that has opened what it was needed for. */
export function forgetSealingSecret(secret: SealingSecret): void {
  if (secret.kind === 'key') secret.key.forget();
  else secret.passphrase.forget();
}

async function readKey(file: string): Promise<Secret<Uint8Array>> {
  const content = await readSettingFile(file, '--key-file');
  if (content.length === 32) return new Secret(content);
  const text = content.toString('latin1').trim();
  if (/^[0-9a-fA-F]{64}$/.test(text)) return new Secret(Buffer.from(text, 'hex'));
  throw duoveilError(
    'CONFIG_INVALID',
    `--key-file: ${file} must hold 32 random bytes, or 64 hexadecimal digits`,
    { path: '--key-file' },
  );
}
