import { duoveilError } from '../errors.js';
import { Secret } from '../secret.js';
import { readSettingFile } from './files.js';

/** Where a secret may come from: a file, or an environment variable; never a flag. */
export interface SecretSetting {
  /** The setting's key, for errors, for example `passphrase`. */
  readonly setting: string;
  /** A file that holds it; a newline at its end does not count. */
  readonly file?: string | undefined;
  /** The environment variable that holds it. */
  readonly env: string;
  /** The environment; the process's own by default. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/**
 * Reads a secret; undefined where neither source is there. A variable is taken out of the process's
 * own environment: diagnostic reports and child processes do not get it.
 * @throws CONFIG_INVALID where the file is missing or empty; OPTION_INVALID where both sources are set
 */
export async function readSecretSetting(
  options: SecretSetting,
): Promise<Secret<string> | undefined> {
  const { setting, file, env, environment = process.env } = options;
  const variable = environment[env];
  const given = variable !== undefined && variable !== '';
  if (environment === process.env) Reflect.deleteProperty(process.env, env);
  if (file === undefined) return given ? new Secret(variable) : undefined;
  if (given) {
    throw duoveilError(
      'OPTION_INVALID',
      `${setting}: set either the file (${file}) or the variable ${env}, not both`,
      { option: env },
    );
  }
  const text = (await readSettingFile(file, setting)).toString('utf8').replace(/\r?\n$/, '');
  if (text === '') {
    throw duoveilError('CONFIG_INVALID', `${setting}: ${file} is empty`, { path: setting });
  }
  return new Secret(text);
}
