import { describe, expect, it, vi } from 'vitest';
import { duoveilError } from '../errors.js';
import type { RandomSource } from '../random.js';
import { retrying } from './retrying.js';
import type { RetryOptions } from './retrying.js';

const unavailable = duoveilError('PEER_UNAVAILABLE', 'gone', { peer: 'csp' });
// The highest draw below any bound of the form 2^k, and the lowest below any.
const highest: RandomSource = { bytes: (length) => Buffer.alloc(length, 0xff) };
const lowest: RandomSource = { bytes: (length) => Buffer.alloc(length) };

/** Retries an operation that fails `failures` times, on a clock that only sleeping moves. */
const attempt = async (
  failures: number,
  options: Partial<RetryOptions>,
  error: Error = unavailable,
) => {
  let nowMs = 0;
  const pauses: number[] = [];
  const operation = vi.fn((tryNumber: number) =>
    tryNumber <= failures ? Promise.reject(error) : Promise.resolve(tryNumber),
  );
  const outcome = await retrying(operation, {
    baseMs: 7,
    maxMs: 63,
    random: lowest,
    sleep: (ms) => {
      nowMs += ms;
      pauses.push(ms);
      return Promise.resolve();
    },
    clock: { now: () => new Date(nowMs), monotonicMs: () => nowMs },
    ...options,
  }).catch((thrown: unknown) => thrown);
  return { outcome, pauses, tries: operation.mock.calls.length };
};

describe('retrying', () => {
  it('does the whole operation again until it succeeds', async () => {
    expect(await attempt(2, { attempts: 3 })).toMatchObject({ outcome: 3, tries: 3 });
  });

  it('gives up after its attempts, with the last error', async () => {
    expect(await attempt(9, { attempts: 3 })).toMatchObject({ outcome: unavailable, tries: 3 });
  });

  it('draws each pause between nothing and a bound that doubles up to a limit', async () => {
    const bases = { baseMs: 7, maxMs: 31, attempts: 6 };
    const upper = await attempt(5, { ...bases, random: highestBelow(8, 15, 29, 32, 32) });
    expect(upper.pauses).toEqual([7, 14, 28, 31, 31]);
    const lower = await attempt(5, { ...bases, random: lowest });
    expect(lower.pauses).toEqual([0, 0, 0, 0, 0]);
  });

  it('begins no try beyond its deadline', async () => {
    const { tries, pauses } = await attempt(99, {
      baseMs: 63,
      maxMs: 63,
      deadlineMs: 200,
      random: highest,
    });
    expect(pauses).toEqual([63, 63, 63]);
    expect(tries).toBe(4);
  });

  it('waits as long as an overloaded peer asks for, within its own limit', async () => {
    const busy = (retryAfterMs: number) => duoveilError('OVERLOADED', 'busy', { retryAfterMs });
    expect((await attempt(1, { random: lowest }, busy(40))).pauses).toEqual([40]);
    expect((await attempt(1, { random: lowest }, busy(4000))).pauses).toEqual([63]);
  });

  it('waits for a budget as long as it takes, where it is told to try again at all', async () => {
    const spent = duoveilError('BUDGET_EXCEEDED', 'spent', { retryAfterMs: 40_000 });
    const isRetryable = () => true;
    expect((await attempt(1, { random: lowest, isRetryable }, spent)).pauses).toEqual([40_000]);
    expect(await attempt(1, {}, spent)).toMatchObject({ outcome: spent, tries: 1 });
  });

  it('does not repeat what time cannot mend', async () => {
    const invalid = duoveilError('CIPHERTEXT_INVALID', 'no unit', { field: 'b' });
    expect(await attempt(1, {}, invalid)).toMatchObject({ outcome: invalid, tries: 1 });
    expect(await attempt(1, {}, new Error('defect'))).toMatchObject({ tries: 1 });
    expect(await attempt(1, { isRetryable: () => true }, new Error('x'))).toMatchObject({
      outcome: 2,
    });
  });

  it('stops when its signal is aborted, also in the middle of a pause', async () => {
    const controller = new AbortController();
    const pending = retrying(() => Promise.reject(unavailable), {
      baseMs: 60_000,
      maxMs: 60_000,
      random: { bytes: (length) => Buffer.alloc(length, 0x70) },
      signal: controller.signal,
    });
    controller.abort(new Error('stop'));
    await expect(pending).rejects.toBe(unavailable);

    const later = new AbortController();
    const paused = retrying(() => Promise.reject(unavailable), {
      baseMs: 60_000,
      maxMs: 60_000,
      random: { bytes: (length) => Buffer.alloc(length, 0x70) },
      signal: later.signal,
      onRetry: () => {
        setImmediate(() => {
          later.abort(new Error('stop'));
        });
      },
    });
    await expect(paused).rejects.toThrow('stop');
  });
});

/** A source whose draws give, for each bound in turn, the greatest integer below it. */
function highestBelow(...bounds: number[]): RandomSource {
  return {
    bytes: (length) => {
      const bound = bounds.shift();
      if (bound === undefined || length !== 1) throw new Error('no draw left');
      const bits = Math.ceil(Math.log2(bound));
      return Buffer.from([(bound - 1) << (8 - bits)]);
    },
  };
}
