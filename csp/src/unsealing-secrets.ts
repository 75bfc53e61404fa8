/** Secrets from settings that seal and unseal the custody. */
import { duoveilError } from '@duoveil/common/errors';
import type { SealingSecret } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';

/** A passphrase, a key, both or none. */
export interface SecretSettings {
  readonly passphrase?: Secret<string> | undefined;
  /** 32 bytes, as 64 hexadecimal digits or in base64. */
  readonly key?: Secret<string> | undefined;
}

/**
 * The secrets that are there.
 * @throws DuoveilError `CONFIG_INVALID` for a key that is none
 */
export function givenSecrets({ passphrase, key }: SecretSettings): SealingSecret[] {
  return [
    ...(key === undefined ? [] : [{ kind: 'key', key: parseKey(key) } as const]),
    ...(passphrase === undefined ? [] : [{ kind: 'passphrase', passphrase } as const]),
  ];
}

function parseKey(text: Secret<string>): Secret<Uint8Array> {
  const written = text.reveal().trim();
  if (/^[0-9a-fA-F]{64}$/.test(written)) return new Secret(Buffer.from(written, 'hex'));
  if (/^[0-9A-Za-z+/]{43}=$/.test(written)) return new Secret(Buffer.from(written, 'base64'));
  throw duoveilError(
    'CONFIG_INVALID',
    'key: must be 32 random bytes, as 64 hexadecimal digits or in base64',
    { path: 'key' },
  );
}
