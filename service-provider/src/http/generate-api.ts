/** `npm run generate:api`: writes the API's description and its types anew. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

import { runMain } from '@duoveil/common/runtime';

import { apiFiles } from './api-files.js';

await runMain(async () => {
  for (const { path, content } of await apiFiles()) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
});
