import { expect, test } from 'vitest';

import { lacksBaseline } from './baselines.js';

const baseline = (model: number) =>
  ({ model, throughSequence: 60 * model, trainedAt: '', trainMs: 1, reason: 'rolling' }) as const;

test.each([
  ['none was learnt', 0, [], false],
  ['it is listed', 2, [baseline(1), baseline(2)], false],
  ['more are listed than were told of', 1, [baseline(1), baseline(2)], false],
  ['the first is not listed', 1, [], true],
  ['the last is not listed', 3, [baseline(1), baseline(2)], true],
] as const)('%s', (_what, model, baselines, lacks) => {
  expect(lacksBaseline({ model, baselines })).toBe(lacks);
});
