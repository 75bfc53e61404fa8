/** The libraries' API pages can be made, without a warning: everything is documented, every link leads somewhere. */
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

import { expect, test } from 'vitest';

import { root } from './documents.js';

const typedoc = createRequire(import.meta.url).resolve('typedoc');

test('typedoc has nothing to complain about', async () => {
  const programme = join(dirname(typedoc), '..', 'bin', 'typedoc');
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [programme, '--emit', 'none'],
    { cwd: root },
  );
  expect(stdout + stderr).not.toMatch(/warning|error/i);
});
