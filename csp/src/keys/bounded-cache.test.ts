import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { BoundedCache } from './bounded-cache.js';

describe('a bounded cache', () => {
  it('forgets what was used least recently: reading and writing are uses', () => {
    const cache = new BoundedCache<number>(3);
    for (const [i, key] of ['a', 'b', 'c'].entries()) cache.set(key, i);
    expect(cache.get('a')).toBe(0);
    cache.set('b', 11);
    cache.set('d', 3);
    expect(['a', 'b', 'c', 'd'].map((key) => cache.get(key))).toEqual([0, 11, undefined, 3]);
  });

  it('does not make room for a key that it has', () => {
    const cache = new BoundedCache<number>(2);
    cache.set('a', 1);
    cache.set('b', 2);
    cache.set('b', 3);
    expect([cache.get('a'), cache.get('b')]).toEqual([1, 3]);
  });

  it('does as a list of uses does, whatever is asked of it', () => {
    const operation = fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
      value: fc.option(fc.nat(), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.array(operation), (capacity, operations) => {
        const cache = new BoundedCache<number>(capacity);
        let uses: (readonly [string, number])[] = [];
        for (const { key, value } of operations) {
          const known = uses.find(([name]) => name === key);
          if (value === undefined) expect(cache.get(key)).toBe(known?.[1]);
          else cache.set(key, value);
          const now = value ?? known?.[1];
          if (now === undefined) continue;
          uses = [...uses.filter(([name]) => name !== key), [key, now] as const].slice(-capacity);
        }
      }),
      { seed: 5 },
    );
  });
});
