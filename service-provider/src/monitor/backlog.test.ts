import { metrics } from '@duoveil/common/runtime';
import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { Backlog } from './backlog.js';

const context = (digit: string): string => `00-${digit.repeat(32)}-${digit.repeat(16)}-01`;

function backlogAt() {
  const time = { ms: 1000 };
  const clock = { now: () => new Date(time.ms), monotonicMs: () => time.ms };
  return { time, backlog: new Backlog(clock) };
}

describe('a backlog', () => {
  it('is as old as its oldest sample', () => {
    const { time, backlog } = backlogAt();
    expect([backlog.size, backlog.lagMs]).toEqual([0, 0]);
    backlog.arrived(1);
    time.ms += 300;
    backlog.arrived(2);
    time.ms += 200;
    expect([backlog.size, backlog.lagMs]).toEqual([2, 500]);
    backlog.decided(1);
    expect([backlog.size, backlog.lagMs]).toEqual([1, 200]);
    backlog.decided(2);
    expect([backlog.size, backlog.lagMs]).toEqual([0, 0]);
  });

  it('knows which trace a sample belongs to', () => {
    const { backlog } = backlogAt();
    backlog.arrived(1, context('1'));
    backlog.arrived(2);
    expect([1, 2, 3].map((n) => backlog.traceparentOf(n))).toEqual([
      context('1'),
      undefined,
      undefined,
    ]);
    backlog.decided(1);
    expect(backlog.traceparentOf(1)).toBeUndefined();
  });

  it('keeps no more of a trace than its name', () => {
    const { backlog } = backlogAt();
    backlog.arrived(1, 'x'.repeat(1_000_000));
    expect([backlog.size, backlog.traceparentOf(1)]).toEqual([1, undefined]);
  });

  it('takes from the store what it does not know, and keeps what it does', () => {
    const { time, backlog } = backlogAt();
    backlog.restored(5, 8);
    expect(backlog.size).toBe(3);
    time.ms += 100;
    backlog.arrived(9, context('9'));
    time.ms += 100;
    // After a failure; one more has been stored, and is announced afterwards.
    backlog.restored(6, 10);
    expect([backlog.size, backlog.lagMs, backlog.traceparentOf(9)]).toEqual([4, 200, context('9')]);
    backlog.arrived(10, context('a'));
    expect([backlog.size, backlog.traceparentOf(10)]).toEqual([4, context('a')]);
  });

  it('counts what comes late after the one before', () => {
    const { time, backlog } = backlogAt();
    const counted = vi.spyOn(metrics.lateSamples, 'add');
    onTestFinished(() => {
      counted.mockRestore();
    });
    time.ms += 60_000;
    backlog.arrived(1);
    time.ms += 10_000;
    backlog.arrived(2);
    expect(counted).not.toHaveBeenCalled();
    time.ms += 10_001;
    backlog.arrived(3);
    backlog.arrived(4);
    expect(counted.mock.calls).toEqual([[1]]);
  });

  it('is not made longer by a sample that was decided on before it was announced', () => {
    const { backlog } = backlogAt();
    backlog.restored(0, 0);
    backlog.decided(1);
    backlog.arrived(1);
    expect(backlog.size).toBe(0);
  });
});
