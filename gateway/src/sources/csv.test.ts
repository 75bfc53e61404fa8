import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { isDuoveilError } from '@duoveil/common/errors';
import { quantiseRow, selectChannels } from '@duoveil/common/encoding';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { csvSource } from './csv.js';
import type { SourceRow } from './source.js';

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-csv-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

async function file(content: string | Buffer): Promise<string> {
  const path = join(directory, 'recording.csv');
  await writeFile(path, content);
  return path;
}

async function read(
  content: string | Buffer,
  channels = ['HR', 'SpO2'],
  limit?: number,
): Promise<SourceRow[]> {
  const rows: SourceRow[] = [];
  for await (const row of csvSource({ path: await file(content), channels, limit })) rows.push(row);
  return rows;
}

/** The message of the INPUT_INVALID error, without the file's name. */
async function refusal(reading: Promise<unknown>): Promise<string> {
  try {
    await reading;
  } catch (error) {
    if (!isDuoveilError(error, 'INPUT_INVALID')) throw error;
    const { source } = error.details;
    expect(error.message.startsWith(`${source}: `)).toBe(true);
    return error.message.slice(source.length + 2);
  }
  throw new Error('the input was accepted');
}

const twoRows = [
  { index: 0, cells: { HR: '94', SpO2: '97' } },
  { index: 1, cells: { HR: '95', SpO2: 'NaN' } },
];

describe('csvSource', () => {
  it('reads the columns asked for, in a header with leading spaces', async () => {
    const rows = await read('Time [s], HR, PULSE, RESP, SpO2\n0,94,93,25,97\n1,95,93,25,NaN\n');
    expect(rows).toEqual(twoRows.map((row) => ({ ...row, seconds: row.index })));
  });

  it.each([
    ['CRLF', 'HR,SpO2\r\n94,97\r\n95,NaN\r\n'],
    ['no line end at the end', 'HR,SpO2\n94,97\n95,NaN'],
    ['a byte order mark', '\ufeffHR,SpO2\n94,97\n95,NaN\n'],
    ['a byte order mark and quotes', '\ufeff"HR","SpO2"\n94,97\n95,NaN\n'],
    [
      'quoted cells',
      '"HR", "SpO2" ,"a ""note"", with\na line end"\n"94",97,x\n 95 , "NaN" ,"y,z"\n',
    ],
    ['blank lines', '\n\nHR,SpO2\n\n94,97\n   \n95,NaN\n\n\n'],
    ['trailing commas', 'HR,SpO2\n94,97,\n95,NaN,,\n'],
    ['other columns between', 'x,SpO2,,HR\n,97,,94\n,NaN,,95\n'],
  ])('reads a file with %s', async (_, content) => {
    expect(await read(content)).toEqual(twoRows);
  });

  it('gives a row with too few cells what it has', async () => {
    expect(await read('HR,SpO2\n94\n,97\n')).toEqual([
      { index: 0, cells: { HR: '94', SpO2: undefined } },
      { index: 1, cells: { HR: '', SpO2: '97' } },
    ]);
  });

  it('leaves readings to quantisation', async () => {
    const schema = selectChannels(['HR', 'SpO2']);
    const rows = await read('HR,SpO2\nhigh,97\n94\n94,101\n94,97\n');
    expect(rows.map((row) => quantiseRow(schema, row.cells))).toEqual([
      { skipped: 'HR is not a number' },
      { skipped: 'SpO2 is missing' },
      { skipped: 'SpO2 is out of range [30, 100]' },
      { complete: [740n, 670n] },
    ]);
  });

  it('can be read again from the start, also after an iteration that ended early', async () => {
    const source = csvSource({ path: await file('HR\n1\n2\n3\n'), channels: [' HR '] });
    for await (const row of source) {
      expect(row.cells).toEqual({ HR: '1' });
      break;
    }
    const seen: string[] = [];
    for await (const row of source) seen.push(row.cells['HR'] ?? '');
    expect(seen).toEqual(['1', '2', '3']);
  });

  it('stops at the limit, whatever comes after it', async () => {
    expect(await read('HR,SpO2\n94,97\n95,NaN\n"', undefined, 2)).toEqual(twoRows);
    expect(await read('HR,SpO2\n94,97\n95,NaN\n', undefined, 5)).toEqual(twoRows);
  });

  it('takes column names that objects have by themselves', async () => {
    const [row] = await read('__proto__,constructor\n1,2\n', ['__proto__', 'constructor']);
    expect(Object.entries(row?.cells ?? {})).toEqual([
      ['__proto__', '1'],
      ['constructor', '2'],
    ]);
  });

  it('delivers every row before a malformed one, then says where that is', async () => {
    const content = `HR\n${'94\n'.repeat(40_000)}9"4\n94\n`;
    const rows: SourceRow[] = [];
    const reading = (async () => {
      for await (const row of csvSource({ path: await file(content), channels: ['HR'] })) {
        rows.push(row);
      }
    })();
    expect(await refusal(reading)).toMatch(/^line 40002: quotes must/);
    expect(rows).toHaveLength(40_000);
  });

  it('reads a large file, and holds a bounded part of it', async () => {
    const blocks = process.env['DUOVEIL_LONG_TESTS'] === '1' ? 50 : 2;
    const path = await file(
      `HR,PULSE,RESP,SpO2\n${'94.5,93,25,97\n'.repeat(100_000).repeat(blocks)}`,
    );
    let [count, most] = [0, 0];
    const before = process.memoryUsage.rss();
    for await (const row of csvSource({ path, channels: ['HR', 'RESP'] })) {
      count = row.index + 1;
      if (count % 20_000 === 0) most = Math.max(most, process.memoryUsage.rss() - before);
    }
    expect(count).toBe(100_000 * blocks);
    expect(most).toBeLessThan(300 * 2 ** 20);
  });
});

describe('csvSource refuses', () => {
  it.each([
    ['an empty file', '', 'is empty; it needs a header and data rows'],
    ['only a byte order mark', '\ufeff', 'is empty; it needs a header and data rows'],
    ['only blank lines', '\n \n\r\n', 'is empty; it needs a header and data rows'],
    ['no data rows', 'HR,SpO2\n\n', 'has a header but no data rows'],
    [
      'a missing column',
      'Time [s], HR ,PULSE\n0,1,2\n',
      'has no column "SpO2"; there are "Time [s]", "HR", "PULSE"',
    ],
    [
      'a file without a header',
      '94,97\n94,97\n',
      'has no column "HR"; the first line must be a header with the names of the columns',
    ],
    [
      'a wanted column twice',
      'HR,SpO2, HR\n1,2,3\n',
      'has more than one column "HR"; names must differ',
    ],
    ['a decimal comma', 'HR,SpO2\n94,97\n94,5,97\n', 'line 3: has 3 cells, but the header has 2'],
    [
      'a quote that never closes',
      'HR,SpO2\n94,97\n95,"97\n96,97\n',
      'after line 2: a quote is opened and never closed',
    ],
    [
      'a quote inside a cell',
      'HR,SpO2\n94,9"7\n',
      'line 2: quotes must enclose a whole cell, and be doubled inside',
    ],
    [
      'text after a quoted cell',
      'HR,SpO2\n94,97\n"95"6,97\n',
      'line 3: quotes must enclose a whole cell, and be doubled inside',
    ],
    [
      'an endless row',
      `HR,SpO2\n94,97\n"${'9'.repeat(70_000)}`,
      'after line 2: a row is longer than 65536 bytes; is a quote never closed?',
    ],
  ])('%s', async (_, content, message) => {
    expect(await refusal(read(content))).toBe(message);
  });

  it('a file that is not there, and a directory', async () => {
    const first = (path: string) => {
      const rows = csvSource({ path, channels: ['HR'] });
      return rows[Symbol.asyncIterator]().next();
    };
    expect(await refusal(first(join(directory, 'none.csv')))).toBe('there is no such file');
    expect(await refusal(first(join(directory, 'none', 'none.csv')))).toBe('there is no such file');
    expect(await refusal(first(directory))).toBe('is a directory; name a file in it');
  });

  it('without repeating a reading, in the message or in the cause', async () => {
    for (const content of ['HR,SpO2\n94321,9"\n', '94321,97\n1,2\n', 'HR,SpO2\n"94321,97']) {
      const error: unknown = await read(content).catch((caught: unknown) => caught);
      if (!isDuoveilError(error)) throw new Error('the input was accepted');
      expect(inspect(error, { depth: 9, showHidden: true })).not.toMatch(/94321/);
    }
  });

  it('with a list of columns of bounded length', async () => {
    const header = Array.from({ length: 300 }, (_, i) => `${'c'.repeat(50)}${i}`).join(',');
    const message = await refusal(read(`${header}\n1\n`));
    expect(message.length).toBeLessThan(1000);
    expect(message).toMatch(/ and more$/);
  });
});
