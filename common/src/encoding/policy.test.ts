import { describe, expect, it } from 'vitest';
import { parsePolicy, policyToJson } from './policy.js';
import { selectChannels } from './schema.js';

const schema = selectChannels(['HR', 'RESP']);
const good = {
  window: 60,
  baseline: 'rolling',
  retrainEvery: 10,
  thresholdScaled: 730_286n,
  higherThresholdsScaled: [870_068n, 1_210_174n],
  suite: 'packed',
  output: 'level',
};

describe('parsePolicy', () => {
  it('accepts a policy as it is', () => {
    expect(parsePolicy(good, schema, 'test')).toEqual(good);
    expect(parsePolicy({ ...good, thresholdScaled: 5 }, schema, 'test').thresholdScaled).toBe(5n);
  });

  it('comes back from JSON', () => {
    const policy = parsePolicy(good, schema, 'test');
    const json: unknown = JSON.parse(JSON.stringify(policyToJson(policy)));
    expect(parsePolicy(json, schema, 'test')).toEqual(policy);
  });

  it.each([
    ['not ascending', [1_210_174n, 870_068n]],
    ['not above the first', [730_286n]],
    ['too many', Array.from({ length: 15 }, (_, i) => 730_287n + BigInt(i))],
  ])('refuses thresholds that are %s', (_, higherThresholdsScaled) => {
    expect(() => parsePolicy({ ...good, higherThresholdsScaled }, schema, 'test')).toThrow(
      /higherThresholdsScaled/,
    );
  });

  it('knows levels with level output only', () => {
    expect(() => parsePolicy({ ...good, output: 'distance' }, schema, 'test')).toThrow(/levels/);
  });

  it('forgets what a fixed baseline ignores', () => {
    const fixed = { ...good, baseline: 'fixed' };
    for (const retrainEvery of [undefined, 0, 10]) {
      expect(parsePolicy({ ...fixed, retrainEvery }, schema, 'test').retrainEvery).toBe(0);
    }
  });

  it.each([
    ['window', { window: 3 }, 'must be a whole number from 4 to 4096'],
    ['window', { window: 4097 }, 'must be a whole number from 4 to 4096'],
    ['window', { window: 20.5 }, 'must be a whole number from 4 to 4096'],
    ['window', { window: '60' }, 'must be a whole number from 4 to 4096'],
    ['baseline', { baseline: 'sliding' }, 'must be one of fixed, rolling'],
    ['retrainEvery', { retrainEvery: 0 }, 'must be at least 1 with a rolling baseline'],
    ['retrainEvery', { retrainEvery: -1 }, 'must be a whole number from 0 to 4294967295'],
    ['thresholdScaled', { thresholdScaled: 0n }, 'must be a whole number from 1 to 1099511627776'],
    ['thresholdScaled', { thresholdScaled: 1.5 }, 'must be a whole number from 1 to 1099511627776'],
    ['suite', { suite: undefined }, 'must be one of reference, packed'],
    ['output', { output: 'both' }, 'must be one of distance, level'],
    [
      'output',
      { suite: 'reference' },
      'must be distance with the reference suite, which opens the distance',
    ],
  ])('refuses a bad %s: %o', (field, change, why) => {
    expect(() => parsePolicy({ ...good, ...change }, schema, 'policy.yaml')).toThrow(
      expect.objectContaining({
        code: 'SCHEMA_INVALID',
        message: `policy.yaml: ${field} ${why}`,
        details: { field },
      }),
    );
  });
});
