import { describe, expect, it } from 'vitest';
import {
  findRecording,
  listRecordings,
  readExpected,
  readRecording,
  sharedDataDirectory,
} from './recordings.js';

const present = sharedDataDirectory() !== undefined;

describe.runIf(present)('the shared recordings (skipped where ../shared/data is absent)', () => {
  it('are 30, with four vital signs of 481 rows each', () => {
    const recordings = listRecordings() ?? [];
    expect(recordings).toHaveLength(30);
    for (const recording of recordings) {
      const rows = readRecording(recording);
      expect(rows).toHaveLength(481);
      expect(Object.keys(rows[0]?.cells ?? {})).toEqual([
        'Time [s]',
        'HR',
        'PULSE',
        'RESP',
        'SpO2',
      ]);
      expect(rows.every(({ index }, i) => index === i)).toBe(true);
    }
  });

  it('have expected results, some of them', () => {
    const [first, second] = [findRecording('01'), findRecording('03')];
    if (first === undefined || second === undefined) throw new Error('a recording is missing');
    expect(readExpected(first, 'fixed20')).toHaveLength(481);
    expect(readExpected(second, 'fixed20')).toBeUndefined();
    expect(findRecording('99')).toBeUndefined();
  });
});

it.skipIf(present)('nothing is found where there is nothing', () => {
  expect(listRecordings()).toBeUndefined();
  expect(findRecording('01')).toBeUndefined();
  expect(readExpected({ id: '01', path: '' }, 'fixed20')).toBeUndefined();
});
