import { describe, expect, it } from 'vitest';
import { isDuoveilError } from '../errors.js';
import { scaleOf } from './scale.js';
import { DEFAULT_CHANNELS, parseSchema, selectChannels } from './schema.js';

const good = { name: 'T', unit: '°C', min: '25', max: '45', resolution: '0.1', noiseFloor: '0.1' };

function refusal(value: unknown): { field: string; message: string } {
  try {
    parseSchema(value, 'test.yaml');
  } catch (error) {
    if (isDuoveilError(error, 'SCHEMA_INVALID')) {
      return { field: error.details.field, message: error.message };
    }
    throw error;
  }
  throw new Error('the schema was accepted');
}

describe('parseSchema', () => {
  it('makes numbers canonical and trims names', () => {
    const schema = parseSchema(
      { channels: [{ ...good, name: ' T ', min: 25.0, max: '4.50e1', resolution: 0.1 }] },
      'test',
    );
    expect(schema).toEqual({ channels: [{ ...good, loinc: '' }] });
    expect(parseSchema(schema, 'again')).toEqual(schema);
  });

  it('takes 1 to 8 channels', () => {
    const channels = (count: number) => ({
      channels: Array.from({ length: count }, (_, i) => ({ ...good, name: `T${i}` })),
    });
    expect(parseSchema(channels(8), 'test').channels).toHaveLength(8);
    expect(refusal(channels(0)).field).toBe('channels');
    expect(refusal(channels(9)).message).toBe('test.yaml: channels must name at most 8 channels');
  });

  it.each([
    ['noiseFloor', { noiseFloor: 0 }, /of T must be greater than 0: a constant channel/],
    ['noiseFloor', { noiseFloor: '-1' }, /greater than 0/],
    ['noiseFloor', { noiseFloor: '20.1' }, /at most max - min/],
    ['noiseFloor', { noiseFloor: undefined }, /must be a decimal number/],
    ['resolution', { resolution: '0.0' }, /of T must be greater than 0$/],
    ['resolution', { resolution: '0.000001' }, /coarser.*2\^24/],
    ['resolution', { resolution: 21 }, /at most max - min/],
    ['resolution', { resolution: Infinity }, /must be a decimal number, such as 0\.1/],
    ['max', { max: '25.0' }, /must be greater than min/],
    ['min', { min: 'low' }, /must be a decimal number/],
    ['min', { min: true }, /must be a decimal number/],
    ['name', { name: '  ' }, /must not be empty/],
    ['name', { name: 'T\u001b[31m' }, /control characters/],
    ['name', { name: 7 }, /must be a text/],
    ['name', { name: 'T'.repeat(65) }, /at most 64 characters/],
    ['loinc', { loinc: 'heart' }, /must be a LOINC code/],
  ])('refuses a bad %s: %j', (field, change, message) => {
    const { field: named, message: said } = refusal({
      channels: [
        { ...good, name: 'other' },
        { ...good, ...change },
      ],
    });
    expect(named).toBe(`channels[1].${field}`);
    expect(said).toMatch(message);
    expect(said.startsWith(`test.yaml: channels[1].${field} `)).toBe(true);
  });

  it('refuses names that differ in surrounding space only', () => {
    expect(refusal({ channels: [good, { ...good, name: 'T ' }] })).toEqual({
      field: 'channels[1].name',
      message: 'test.yaml: channels[1].name must be unique: there is another channel T',
    });
  });

  it('refuses a missing field, an unknown one and what is no schema at all', () => {
    const rest = Object.entries(good).filter(([field]) => field !== 'noiseFloor');
    expect(refusal({ channels: [Object.fromEntries(rest)] }).field).toBe('channels[0].noiseFloor');
    expect(refusal({ channels: [{ ...good, noisefloor: 1 }] }).message).toBe(
      'test.yaml: channels[0] has no field "noisefloor"',
    );
    for (const value of [null, undefined, 'HR', [], {}, { channels: 4 }]) {
      expect(refusal(value).message).toMatch(/^test\.yaml: /);
    }
  });
});

describe('the default channels', () => {
  it('are the published table', () => {
    const row = (c: (typeof DEFAULT_CHANNELS)[number]) =>
      [c.name, c.unit, c.min, c.max, c.resolution, c.noiseFloor, c.loinc].join(' | ');
    expect(DEFAULT_CHANNELS.map(row)).toEqual([
      'HR | beats/min | 20 | 300 | 0.1 | 2 | 8867-4',
      'PULSE | beats/min | 20 | 300 | 0.1 | 2 | 8889-8',
      'RESP | breaths/min | 0 | 120 | 0.1 | 2 | 9279-1',
      'SpO2 | % | 30 | 100 | 0.1 | 2 | 59408-5',
    ]);
  });

  it('have the exact integers of their table', () => {
    expect(DEFAULT_CHANNELS.map((c) => scaleOf(c).D)).toEqual([2800n, 2800n, 1200n, 700n]);
    expect(DEFAULT_CHANNELS.map((c) => scaleOf(c).F)).toEqual([400n, 400n, 400n, 400n]);
    expect(DEFAULT_CHANNELS.map((c) => scaleOf(c).b)).toEqual([12, 12, 11, 10]);
  });
});

describe('scaleOf', () => {
  const scale = (change: object) => {
    const [channel] = parseSchema({ channels: [{ ...good, ...change }] }, 'test').channels;
    if (channel === undefined) throw new Error('no channel');
    return scaleOf(channel);
  };

  it('rounds half up, exactly', () => {
    // (25.25 - 25)/0.1 = 2.5
    expect(scale({ max: '25.25' }).D).toBe(3n);
    expect(scale({ max: '25.2499' }).D).toBe(2n);
    // (0.15/0.1)² = 2.25, √2.5 ≈ 1.58113883008419 from below and from above
    expect(scale({ noiseFloor: '0.15' }).F).toBe(2n);
    expect(scale({ noiseFloor: '0.1581138830084189' }).F).toBe(2n);
    expect(scale({ noiseFloor: '0.1581138830084190' }).F).toBe(3n);
    expect(scale({ resolution: '2', noiseFloor: '5' }).F).toBe(6n);
    expect(scale({ resolution: '2', noiseFloor: '3' }).F).toBe(2n);
  });

  it('never lets the floor vanish', () => {
    expect(scale({ noiseFloor: '0.0001' }).F).toBe(1n);
  });

  it('reaches 24 bits and no further', () => {
    const range = { min: 0, resolution: 1, noiseFloor: 1 };
    expect(scale({ ...range, max: 2 ** 24 - 1 })).toMatchObject({ D: 2n ** 24n - 1n, b: 24 });
    expect(() => scale({ ...range, max: 2 ** 24 })).toThrow(/2\^24/);
  });

  it('refuses a channel that never was validated', () => {
    const channel = { ...good, loinc: '' };
    expect(() => scaleOf({ ...channel, noiseFloor: '0' })).toThrow(/noiseFloor > 0/);
    expect(() => scaleOf({ ...channel, min: 'x' })).toThrow(/min must be a decimal number/);
  });
});

describe('selectChannels', () => {
  it('keeps the order of the names', () => {
    const { channels } = selectChannels([' SpO2', 'HR ']);
    expect(channels.map((c) => c.name)).toEqual(['SpO2', 'HR']);
    expect(channels[1]).toBe(DEFAULT_CHANNELS[0]);
  });

  it.each([
    [[], /name 1 to 8 of them, not 0/],
    [['HR', 'HR '], /HR is named more than once/],
    [['HR', 'hr'], /no channel "hr"; there are HR, PULSE, RESP, SpO2/],
    [[''], /no channel ""/],
  ])('refuses %j', (names, message) => {
    expect(() => selectChannels(names)).toThrow(message);
  });
});
