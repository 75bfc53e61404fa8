import { createHash } from 'node:crypto';

import { systemRandom } from '@duoveil/common/random';
import { withSettings } from '@duoveil/common/runtime';
import type { Command } from 'commander';
import { z } from 'zod';

/** What `sp serve` reads as `operators` takes the same. */
const tokenSettings = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9._@+-]{1,64}$/, 'must be 1 to 64 of A-Z, a-z, 0-9 and . _ @ + -')
    .describe('name of the operator, as alarms and logs will have it'),
  role: z
    .enum(['viewer', 'operator', 'admin'])
    .default('operator')
    .describe('what the token opens: viewer, operator or admin'),
});

const TOKEN_BYTES = 32;

/** `duoveil operator token`: a token to sign in with, and what the operators' file has of it. */
export function addTokenCommand(operator: Command): void {
  withSettings(operator.command('token'), tokenSettings, ({ name, role }) => {
    const token = `dvo_${Buffer.from(systemRandom.bytes(TOKEN_BYTES)).toString('base64url')}`;
    const tokenSha256 = createHash('sha256').update(token).digest('hex');
    process.stdout.write(
      `# For ${name} alone; it is not kept anywhere:\n${token}\n` +
        '# For the file of --http-operators-file, below "operators:":\n' +
        `  - { name: ${JSON.stringify(name)}, role: ${role}, tokenSha256: ${tokenSha256} }\n`,
    );
    return Promise.resolve();
  }).description("make a token to sign in to the operators' HTTP API with");
}
