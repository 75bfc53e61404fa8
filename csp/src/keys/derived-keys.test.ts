import { publicParameters } from '@duoveil/common/bcp';
import { Secret } from '@duoveil/common/secret';
import { afterAll, describe, expect, it } from 'vitest';

import { testEngine } from '../../../harness/src/local/engine.js';
import { setUpForTests } from '../../../harness/src/local/parties.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { deriveKeys } from './derived-keys.js';

const engine = testEngine();
afterAll(() => engine.close());
const master = (seed: string) => setUpForTests(512, 'residue', engine, new SeededRandom(seed));
const hex = (key: Secret<Uint8Array>) => Buffer.from(key.reveal()).toString('hex');

describe('keys derived from the master key', () => {
  it('are the same each time: on every replica, and after a restart', async () => {
    const [first, second] = [deriveKeys(await master('a')), deriveKeys(await master('a'))];
    expect(hex(first.sealing)).toBe(hex(second.sealing));
    expect(hex(first.answers)).toBe(hex(second.answers));
  });

  it('differ by purpose, and have 32 bytes', async () => {
    const keys = Object.values(deriveKeys(await master('a'))) as Secret<Uint8Array>[];
    expect(keys.length).toBeGreaterThanOrEqual(2);
    expect(new Set(keys.map(hex)).size).toBe(keys.length);
    for (const key of keys) expect(key.reveal()).toHaveLength(32);
  });

  it('differ with the parameters, and with the factors behind them', async () => {
    const [a, b] = [await master('a'), await master('b')];
    expect(a.parameters.digest).not.toBe(b.parameters.digest);
    const { p, q } = a.factors.reveal();
    const others = [b, { ...a, factors: new Secret({ p: p + 2n, q }) }];
    for (const other of others) {
      expect(hex(deriveKeys(other).sealing)).not.toBe(hex(deriveKeys(a).sealing));
      expect(hex(deriveKeys(other).answers)).not.toBe(hex(deriveKeys(a).answers));
    }
    expect(publicParameters('residue', p * q, b.parameters.generator).digest).toBe(
      b.parameters.digest,
    );
  });

  it('do not print', async () => {
    const keys = deriveKeys(await master('a'));
    const printed = JSON.parse(JSON.stringify(keys)) as Record<string, string>;
    expect(new Set(Object.values(printed))).toEqual(new Set(['[secret]']));
  });
});
