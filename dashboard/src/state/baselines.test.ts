import { expect, test } from 'vitest';

import { lacksBaseline } from './baselines.js';
import { points } from './fixture.js';

const baseline = (throughSequence: number) =>
  ({ model: 1, throughSequence, trainedAt: '', trainMs: 1, reason: 'first' }) as const;

test.each([
  ['nothing was learnt from', [0, 0], [], false],
  ['learning goes on', [0, -1, -1], [baseline(1)], false],
  ['it is listed', [-1, -1, 0], [baseline(2)], false],
  ['the first is not listed', [-1, -1, 0], [], true],
  ['the last is not listed', [-1, 0, -1, 3], [baseline(1)], true],
] as const)('%s', (_what, levels, baselines, lacks) => {
  expect(lacksBaseline({ recent: points(levels), baselines })).toBe(lacks);
});
