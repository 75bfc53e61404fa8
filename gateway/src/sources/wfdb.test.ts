import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { selectChannels } from '@duoveil/common/encoding';
import { isDuoveilError } from '@duoveil/common/errors';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { SourceRow } from './source.js';
import { parseWfdbHeader } from './wfdb-header.js';
import { wfdbFrames } from './wfdb-samples.js';
import { wfdbSource } from './wfdb.js';
import type { WfdbOptions } from './wfdb.js';

const shared = fileURLToPath(new URL('../../../../shared/data/wfdb', import.meta.url));

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-wfdb-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

const TWO = selectChannels(['HR', 'SpO2']).channels;

async function read(path: string, options: Partial<WfdbOptions> = {}): Promise<SourceRow[]> {
  const rows: SourceRow[] = [];
  for await (const row of wfdbSource({ path, channels: TWO, ...options })) rows.push(row);
  return rows;
}

/** A record of 16-bit frames, with the right checksums unless another header is given. */
async function record(
  frames: readonly (readonly number[])[],
  edit: (header: string) => string = (header) => header,
): Promise<string> {
  const samples = frames.flat();
  const data = Buffer.alloc(2 * samples.length);
  samples.forEach((sample, i) => data.writeInt16LE(sample, 2 * i));
  await writeFile(join(directory, 'r.dat'), data);
  const sum = (signal: number) => frames.reduce((total, frame) => total + (frame[signal] ?? 0), 0);
  const lines = [
    `r 2 0.5/125 ${frames.length} 10:44:18.529 04/05/2012`,
    `r.dat 16 10/bpm 16 0 ${frames[0]?.[0] ?? 0} ${sum(0)} 0 HR`,
    `r.dat 16 10(5)/% 16 0 ${frames[0]?.[1] ?? 0} ${sum(1)} 0 SpO2`,
    '# <age>: 60',
    '',
  ];
  const path = join(directory, 'r.hea');
  await writeFile(path, edit(lines.join('\n')));
  return path;
}

async function refusal(reading: Promise<unknown>): Promise<string> {
  try {
    await reading;
  } catch (error) {
    if (!isDuoveilError(error, 'INPUT_INVALID')) throw error;
    return error.message.slice(error.details.source.length + 2);
  }
  throw new Error('the input was accepted');
}

describe('wfdbSource', () => {
  it('gives physical values, times and what is missing', async () => {
    const path = await record([
      [940, 975],
      [-32_768, 980],
      [945, 5],
      [0, 985],
    ]);
    const begin = Date.UTC(2012, 4, 4, 10, 44, 18, 529);
    const times = (index: number) => ({ seconds: 2 * index, measuredAt: begin + 2000 * index });
    expect(await read(path)).toEqual([
      { index: 0, cells: { HR: '94', SpO2: '97' }, ...times(0) },
      { index: 1, cells: { HR: undefined, SpO2: '97.5' }, ...times(1) },
      // A zero is no signal, in physical units.
      { index: 2, cells: { HR: '94.5', SpO2: undefined }, ...times(2) },
      { index: 3, cells: { HR: undefined, SpO2: '98' }, ...times(3) },
    ]);
    const kept = await read(path, { keepZeros: true });
    expect(kept.map(({ cells }) => cells['HR'])).toEqual(['94', undefined, '94.5', '0']);
    expect(kept[2]?.cells['SpO2']).toBe('0');
  });

  it('reads signals from several files, behind a preamble, without a length or a date', async () => {
    await writeFile(join(directory, 'a.dat'), Buffer.from([0xff, 0xff, 0xff, 0xac, 3, 0xad, 3]));
    await writeFile(join(directory, 'b.dat'), Buffer.from([0xca, 0x23, 0xcf]));
    const path = join(directory, 'm.hea');
    await writeFile(
      path,
      'm 2 2\r\na.dat 16+3 10/bpm 0 0 0 1881 0 HR\r\nb.dat 212 10/% 0 0 0 0 0 SpO2',
    );
    // 0x3ca and 0x2cf, whose checksum the header does not have right.
    expect(await refusal(read(path))).toBe(
      'the samples of "SpO2" do not have the checksum that the header states',
    );
    await writeFile(
      path,
      'm 2 2\na.dat 16+3 10/bpm 0 0 0 1881 0 HR\nb.dat 212 10/% 0 0 0 1689 0 SpO2',
    );
    expect(await read(path)).toEqual([
      { index: 0, cells: { HR: '94', SpO2: '97' }, seconds: 0 },
      { index: 1, cells: { HR: '94.1', SpO2: '71.9' }, seconds: 0.5 },
    ]);
  });

  it.each<[string, (header: string) => string, string | RegExp]>([
    ['an empty header', () => '# nothing\n', 'is empty; it must be a WFDB header'],
    ['another file', () => 'Time [s],HR\n0,94\n', /^line 1: must begin with a name and a number/],
    ['segments', (h) => h.replace('r 2', 'r/3 2'), /^line 1: the record has several segments/],
    ['too few signals', (h) => h.replace('r 2', 'r 3'), 'announces 3 signals but describes 2'],
    ['no frequency', (h) => h.replace('0.5/125', '0'), /^line 1: the sampling frequency/],
    ['a bad date', (h) => h.replace('04/05', '31/02'), /^line 1: the base date is no day/],
    [
      'another format',
      (h) => h.replace('dat 16', 'dat 80'),
      'line 2: the format must be 16 or 212',
    ],
    ['a file elsewhere', (h) => h.replace('r.dat', '../r.dat'), /^line 2: a signal must begin/],
    ['several a frame', (h) => h.replace('dat 16', 'dat 16x4'), /^line 2: several samples a frame/],
    [
      'a missing signal',
      (h) => h.replace('0 HR', '0 PR'),
      'has no signal "HR"; there are "PR", "SpO2"',
    ],
    ['one twice', (h) => h.replace('0 SpO2', '0 HR'), /^has more than one signal "HR"/],
    ['another unit', (h) => h.replace('bpm', 'mmHg'), 'signal "HR" is in "mmHg", not in beats/min'],
    [
      'a wrong sum',
      (h) => h.replace('0 2825', '0 2826'),
      /^the samples of "HR" do not have the check/,
    ],
    ['too few samples', (h) => h.replace('125 3', '125 4'), /^announces 4 samples, .* after 3$/],
    [
      'two formats in a file',
      (h) => h.replace('dat 16 10(', 'dat 212 10('),
      /must all have the same/,
    ],
  ])('refuses %s', async (_, edit, message) => {
    const path = await record(
      [
        [940, 975],
        [942, 976],
        [943, 977],
      ],
      edit,
    );
    expect(await refusal(read(path))).toEqual(expect.stringMatching(message));
  });

  it('refuses what is not there', async () => {
    expect(await refusal(read(join(directory, 'none.hea')))).toBe('there is no such file');
    const path = await record([[940, 975]], (header) => header.replaceAll('r.dat', 'gone.dat'));
    expect(await refusal(read(path))).toBe('there is no such file');
  });

  it('takes any bytes for a header and any for samples without failing otherwise', async () => {
    const line = fc.string({ unit: fc.constantFrom(...Array.from('r.dat 16210+:x/(-)\nHR#\t9e')) });
    await fc.assert(
      fc.asyncProperty(fc.oneof(line, fc.string()), fc.uint8Array(), async (header, bytes) => {
        try {
          parseWfdbHeader(header, 'it');
        } catch (error) {
          if (!isDuoveilError(error, 'INPUT_INVALID')) throw error;
        }
        const chunks = (async function* () {
          await Promise.resolve();
          yield Buffer.from(bytes.subarray(0, 7));
          yield Buffer.from(bytes.subarray(7));
        })();
        let frames = 0;
        for await (const frame of wfdbFrames(chunks, 212, 2)) frames += frame.length / 2;
        const samples = Math.floor(bytes.length / 3) * 2 + (bytes.length % 3 === 2 ? 1 : 0);
        expect(frames).toBe(Math.floor(samples / 2));
      }),
      { numRuns: 300 },
    );
  });
});

describe.skipIf(!existsSync(shared))('records of MIMIC-II, where they are there', () => {
  const all = selectChannels(['HR', 'PULSE', 'RESP', 'SpO2']).channels;

  // Complete rows, and the first of them, as another programme reads the files.
  it.each([
    ['s25047-2704-05-04-10-44n', 72, '2704-05-04T10:44:18.529Z', 41, [2, 89.5, 88.5, 21.2, 95.7]],
    ['s00001-2896-10-10-00-31n', 1936, '2896-10-10T00:31:25.894Z', 1569, [14, 55.6, 55, 12.4, 96]],
    ['s00001-2896-10-09-01-56n', 1, '2896-10-09T01:56:25.894Z', 0, undefined],
  ])('%s: the checksums hold', async (name, count, begin, complete, first) => {
    const rows = await read(join(shared, `${name}.hea`), { channels: all });
    expect(rows).toHaveLength(count);
    expect(new Date(rows[0]?.measuredAt ?? 0).toISOString()).toBe(begin);
    expect(rows.at(-1)?.seconds).toBeCloseTo(60 * (count - 1), 3);
    const readings = rows.filter(({ cells }) =>
      Object.values(cells).every((cell) => cell !== undefined),
    );
    expect(readings).toHaveLength(complete);
    const [row] = readings;
    const found = row && [row.index, ...all.map((channel) => Number(row.cells[channel.name]))];
    expect(found).toEqual(first);
  });
});
