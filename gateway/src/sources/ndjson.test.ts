import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { inOrder } from './in-order.js';
import { boundedLines } from './lines.js';
import { ndjsonSource } from './ndjson.js';
import { RowAssembler } from './row-assembler.js';
import type { Reading } from './row-assembler.js';
import type { Source, SourceRow } from './source.js';
import { parseMoment } from './times.js';

async function* chunksOf(bytes: Buffer, size: number): AsyncGenerator<Buffer, void> {
  await Promise.resolve();
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(text: string, size = 7): Promise<SourceRow[]> {
  const input = { name: 'it', chunks: () => chunksOf(Buffer.from(text), size) };
  const rows: SourceRow[] = [];
  for await (const row of ndjsonSource({ input, channels: ['HR', 'SpO2'] })) rows.push(row);
  return rows;
}

describe('boundedLines', () => {
  it('gives what splitting gives, however the bytes come in', async () => {
    const line = fc.string({ unit: fc.constantFrom('a', 'ä', ' ', '\r'), maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.integer({ min: 1, max: 9 }), async (lines, size) => {
        const text = lines.join('\n');
        const found: [number, string | undefined][] = [];
        for await (const { number, text: one } of boundedLines(
          chunksOf(Buffer.from(text), size),
          10,
        )) {
          found.push([number, one]);
        }
        const expected = lines.flatMap((one, i): [number, string | undefined][] => {
          if (Buffer.byteLength(one) > 10) return [[i + 1, undefined]];
          return one.trim() === '' ? [] : [[i + 1, one]];
        });
        expect(found).toEqual(expected);
      }),
    );
  });
});

describe('ndjsonSource', () => {
  it('reads numbers, texts, times, and what is missing', async () => {
    const at = Date.UTC(2026, 4, 4, 10, 44, 18, 500);
    const time = { measuredAt: at, seconds: at / 1000 };
    expect(
      await read(
        [
          '{"time":"2026-05-04T12:44:18.5+02:00","HR":94.5,"SpO2":"97","other":{}}',
          `\ufeff{"time":${at},"HR":null}`,
          '',
          '{"HR":true,"SpO2":97,"time":null}\r',
        ].join('\n'),
      ),
    ).toEqual([
      { index: 0, cells: { HR: '94.5', SpO2: '97' }, ...time },
      { index: 1, cells: { HR: undefined, SpO2: undefined }, ...time },
      { index: 2, cells: { HR: 'not a number', SpO2: '97' } },
    ]);
  });

  it('goes on after a bad line, and repeats nothing of it', async () => {
    const rows = await read(
      ['94,97', '[94]', '{"HR":94', `{"HR":${'9'.repeat(70_000)}}`, '{"HR":94,"SpO2":97}'].join(
        '\n',
      ),
      999,
    );
    expect(rows.map(({ problem }) => problem)).toEqual([
      'line 1 is not a JSON object',
      'line 2 is not a JSON object',
      'line 3 is not a JSON object',
      'line 4 is longer than 65536 bytes',
      undefined,
    ]);
  });

  it.each([
    '1778000000',
    '"2026-05-04"',
    '"2026-05-04T10:44:18"',
    '"yesterday"',
    '-5',
    '{}',
    'true',
  ])('says what a time must be instead of %s', async (time) => {
    const [row] = await read(`{"time":${time},"HR":94,"SpO2":97}`);
    expect(row?.problem).toMatch(/^line 1 "time" must be a date and time with a time zone, as /);
  });

  it('takes any bytes', async () => {
    const piece = fc.oneof(
      fc.json().map((text) => `${text}\n`),
      fc.string(),
      fc.record({ time: fc.anything(), HR: fc.anything() }).map((o) => {
        try {
          return `${JSON.stringify(o)}\n`;
        } catch {
          return '\n';
        }
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece), async (pieces) => {
        for (const { cells, measuredAt } of await read(pieces.join(''))) {
          for (const cell of Object.values(cells)) expect(typeof (cell ?? '')).toBe('string');
          expect((measuredAt ?? 0) >= 0 && Number.isSafeInteger(measuredAt ?? 0)).toBe(true);
        }
      }),
    );
  });
});

describe('parseMoment', () => {
  it('gives back every moment that is written in full', () => {
    fc.assert(
      fc.property(fc.date({ min: new Date(0), noInvalidDate: true }), (date) => {
        const text = date.toISOString();
        expect(parseMoment(text)).toBe(/^\d{4}-/.test(text) ? date.getTime() : undefined);
      }),
    );
  });
});

function sourceOf(times: readonly (number | undefined)[]): Source {
  return {
    name: 'it',
    async *[Symbol.asyncIterator](): AsyncGenerator<SourceRow, void> {
      await Promise.resolve();
      for (const [index, measuredAt] of times.entries()) {
        yield measuredAt === undefined ? { index, cells: {} } : { index, cells: {}, measuredAt };
      }
    },
  };
}

async function problems(
  times: readonly (number | undefined)[],
  after?: number,
  setBacks: number[] = [],
): Promise<(string | undefined)[]> {
  const source = inOrder(sourceOf(times), { after, onSetBack: (byMs) => setBacks.push(byMs) });
  const found: (string | undefined)[] = [];
  for await (const { problem } of source) found.push(problem?.replace(/^its time (is|was) /, ''));
  return found;
}

describe('inOrder', () => {
  const [twice, late, good] = ['there before', 'out of order', undefined];

  it('marks rows that come twice or late', async () => {
    const times = [1000, 2000, 2000, undefined, 1500, 2001, 1000, 3000];
    const expected = [good, good, twice, good, late, good, late, good];
    expect(await problems(times)).toEqual(expected);
    expect(await problems([1000, 2000, 2001], 2000)).toEqual([late, twice, good]);
  });

  it('follows a clock that was set back, and no stragglers', async () => {
    const setBacks: number[] = [];
    const back = Array.from({ length: 70 }, (_, i) => 1000 * i);
    const found = await problems([1e9, ...back], undefined, setBacks);
    expect(found).toEqual([good, ...back.map((_, i) => (i < 59 ? late : good))]);
    expect(setBacks).toEqual([1e9 - 59_000]);
    // The same message again and again says nothing about the clock.
    const again = await problems([1e9, ...Array.from({ length: 200 }, (_, i) => i % 20)]);
    expect(again.slice(1).every((problem) => problem === late)).toBe(true);
  });
});

describe('RowAssembler', () => {
  const rows = (
    readings: readonly [string, number, string?][],
    withinMs = 500,
    measured = true,
  ) => {
    const assembler = new RowAssembler(['HR', 'SpO2'], withinMs);
    const all = readings.map(([channel, at, value = '1']): Reading => ({
      channel,
      at,
      value,
      measured,
    }));
    return [...all.flatMap((reading) => assembler.add(reading)), ...assembler.flush()];
  };

  it('puts together what is close in time', () => {
    const found = rows([
      ['HR', 1000, '94'],
      ['SpO2', 1400, '97'],
      ['SpO2', 2000, '98'],
      ['HR', 1900, '95'],
    ]);
    expect(found).toEqual([
      { cells: { HR: '94', SpO2: '97' }, measuredAt: 1000 },
      { cells: { SpO2: '98', HR: '95' }, measuredAt: 2000 },
    ]);
    expect(rows([['HR', 1000]], 500, false)).toEqual([{ cells: { HR: '1' } }]);
  });

  it('fills nothing in: a row that lacks a channel comes out without it', () => {
    const found = rows([
      ['HR', 1000],
      ['HR', 2000],
      ['SpO2', 2501],
      ['HR', 3000],
      ['SpO2', 1000],
    ]);
    expect(found.map(({ cells, measuredAt }) => [measuredAt, ...Object.keys(cells)])).toEqual([
      [1000, 'HR'],
      [2000, 'HR'],
      // HR at 3000 joins SpO2 at 2501; the late one does not disturb anything.
      [2501, 'SpO2', 'HR'],
      [1000, 'SpO2'],
    ]);
  });

  it('gives each reading back once, and no row a channel twice', () => {
    const reading = fc.record({
      channel: fc.constantFrom('HR', 'SpO2'),
      at: fc.integer({ min: 0, max: 5000 }),
      measured: fc.boolean(),
      value: fc.option(fc.nat().map(String), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(reading), fc.integer({ min: 0, max: 900 }), (readings, withinMs) => {
        const assembler = new RowAssembler(['HR', 'SpO2'], withinMs);
        const found = [...readings.flatMap((one) => assembler.add(one)), ...assembler.flush()];
        const values = found.flatMap(({ cells }) => Object.entries(cells).map(String)).sort();
        const given = readings.map(({ channel, value }) => String([channel, value])).sort();
        expect(values).toEqual(given);
      }),
    );
  });
});
