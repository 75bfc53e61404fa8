import { readFile } from 'node:fs/promises';

import { expect, test } from 'vitest';

import { apiFiles } from './api-files.js';

test('the committed description of the API and its types are what the routes give', async () => {
  for (const { path, content } of await apiFiles()) {
    expect(await readFile(path, 'utf8'), 'run "npm run generate:api"').toBe(content);
    expect(content).toContain('/api/v1/patients/{id}/timeline');
  }
});
