/** `npm run alarms:docs`: replay the shared recordings, and write the tables of `docs/alarms.md` anew. */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { duoveilError } from '@duoveil/common/errors';
import { runMain } from '@duoveil/common/runtime';
import { listRecordings } from '@duoveil/harness/recordings';

import { docsWith } from './tables.js';

const DOCUMENT = fileURLToPath(new URL('../../../docs/alarms.md', import.meta.url));

await runMain(async () => {
  const recordings = listRecordings();
  if (recordings === undefined) {
    throw duoveilError(
      'INPUT_INVALID',
      'the shared recordings are not there: see CONTRIBUTING.md',
      {
        source: 'shared recordings',
      },
    );
  }
  await writeFile(DOCUMENT, docsWith(await readFile(DOCUMENT, 'utf8'), recordings));
});
