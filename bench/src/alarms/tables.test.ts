import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { listRecordings } from '@duoveil/harness/recordings';
import { alarmPolicy } from '@duoveil/service-provider/alarms';
import { describe, expect, it } from 'vitest';

import { alarmed } from './replayed.js';
import { docsWith } from './tables.js';

const recordings = listRecordings();
const read = (path: string): string =>
  readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8');

it.skipIf(recordings === undefined)(
  'docs/alarms.md is what the recordings give (skipped where ../shared/data is absent)',
  () => {
    const document = read('docs/alarms.md');
    // A figure that is another one is noticed, and put right.
    const changed = document.replace(/\d\.\d %/, '99.9 %');
    expect(changed).not.toBe(document);
    expect(docsWith(changed, recordings ?? [])).toBe(document);
  },
);

describe('what a policy makes of levels', () => {
  const policy = alarmPolicy({ levels: [{ level: 1, count: 2, of: 3 }] });
  const rows = [0, 1, 1, 0, 0, 2, 0, 3, 0].map((level, i) => ({ index: i + 10, level }));

  it('is how many alarms there were, and for how long', () => {
    expect(alarmed(rows, policy)).toEqual({ scored: 9, flagged: 4, active: 3, raised: [12, 17] });
  });
});
