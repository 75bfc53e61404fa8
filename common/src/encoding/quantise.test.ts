import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { quantise, quantiseRow } from './quantise.js';
import type { Cell } from './quantise.js';
import { parseSchema, selectChannels } from './schema.js';

function channelOf(min: string, max: string, resolution: string) {
  const fields = { name: 'X', min, max, resolution, noiseFloor: resolution };
  const [channel] = parseSchema({ channels: [fields] }, 'test').channels;
  if (channel === undefined) throw new Error('no channel');
  return channel;
}

const heartRate = channelOf('20', '300', '0.1');
const q = (channel: ReturnType<typeof channelOf>, value: Cell) => {
  const result = quantise(channel, value);
  return result.ok ? result.q : result.reason;
};

describe('quantise', () => {
  it('is exact where doubles are not', () => {
    // In doubles (20.35 - 20)/0.1 + 0.5 is 4.000000000000014 and (20.15 - 20)/0.1 + 0.5 is
    // 1.9999999999999858, one half step apart from what the decimals say.
    expect(q(heartRate, '20.15')).toBe(2n);
    expect(q(heartRate, 20.15)).toBe(2n);
    expect(q(heartRate, '20.35')).toBe(4n);
    expect(q(channelOf('0', '1', '0.1'), 0.1 + 0.2)).toBe(3n);
    expect(q(channelOf('0', '1', '0.3'), '0.45')).toBe(2n);
    expect(q(channelOf('0', '1', '0.3'), 0.1 + 0.2 + 0.15)).toBe(2n);
    expect(q(channelOf('0', '1', '0.3'), '0.44999999999999999999999999')).toBe(1n);
  });

  it('takes the range with both its ends', () => {
    expect(q(heartRate, '20')).toBe(0n);
    expect(q(heartRate, '300')).toBe(2800n);
    expect(q(heartRate, '300.0')).toBe(2800n);
    const reason = 'out of range [20, 300]';
    expect(q(heartRate, '19.9999999999999999999')).toBe(reason);
    expect(q(heartRate, '300.0000000000000000001')).toBe(reason);
    expect(q(heartRate, '-94')).toBe(reason);
    expect(q(heartRate, 1e300)).toBe(reason);
  });

  it('may reach the greatest quantum by rounding up', () => {
    const channel = channelOf('-1', '1.25', '0.5');
    expect(['-1', '-0.76', '-0.75', '0', '1.24', '1.25'].map((v) => q(channel, v))).toEqual([
      0n,
      0n,
      1n,
      2n,
      4n,
      5n,
    ]);
  });

  it.each(['', '  ', 'NaN', ' nan', 'null', null, undefined, NaN])('calls %j missing', (value) => {
    expect(q(heartRate, value)).toBe('missing');
  });

  it.each(['abc', '94 bpm', '9,4', '--', Infinity, '1e99999'])('calls %j not a number', (value) => {
    expect(q(heartRate, value)).toBe('not a number');
  });

  it('is the nearest quantum, a half rounded up', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 28_000_000n), (micro) => {
        // A value of five decimal places above the minimum, in units of 10^-5.
        const value = 20n * 100_000n + micro;
        const text = `${value / 100_000n}.${(value % 100_000n).toString().padStart(5, '0')}`;
        expect(q(heartRate, text)).toBe((micro + 5_000n) / 10_000n);
        expect(q(heartRate, Number(text))).toBe((micro + 5_000n) / 10_000n);
      }),
    );
  });
});

describe('quantiseRow', () => {
  const schema = selectChannels(['HR', 'RESP']);

  it('gives the integers in the order of the schema', () => {
    expect(quantiseRow(schema, { RESP: '25', note: 'x', HR: 94 })).toEqual({
      complete: [740n, 250n],
    });
  });

  it('names the channel and why', () => {
    expect(quantiseRow(schema, { HR: '94', RESP: 'NaN' })).toEqual({ skipped: 'RESP is missing' });
    expect(quantiseRow(schema, { HR: 'high', RESP: '121' })).toEqual({
      skipped: 'HR is not a number; RESP is out of range [0, 120]',
    });
  });

  it('never tells a value', () => {
    const row = quantiseRow(schema, { HR: '311.7', RESP: '<b>13' });
    expect(JSON.stringify(row)).not.toMatch(/311|13|<b>/);
  });

  it('looks at the row itself only', () => {
    const odd = parseSchema(
      { channels: [{ name: 'constructor', min: 0, max: 9, resolution: 1, noiseFloor: 1 }] },
      'test',
    );
    expect(quantiseRow(odd, {})).toEqual({ skipped: 'constructor is missing' });
    expect(quantiseRow(odd, { constructor: 4 })).toEqual({
      complete: [4n],
    });
  });
});
