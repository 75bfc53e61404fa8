/** What seals the keys of patients in tests. A key, not a passphrase: that would be stretched each time. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Writes a key file into a directory; the option that names it. */
export function newKeyFile(directory: string): readonly string[] {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'sealing.key');
  writeFileSync(file, randomBytes(32).toString('hex'), { mode: 0o600 });
  return ['--key-file', file];
}
