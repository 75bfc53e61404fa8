import { getEventListeners } from 'node:events';

import { describe, expect, it } from 'vitest';

import { linkedAbort } from './abort.js';

describe('a linked abort', () => {
  it.each([0, 1])('follows each of its parents, with the reason (%i)', (which) => {
    const parents = [new AbortController(), new AbortController()];
    const life = linkedAbort(...parents.map(({ signal }) => signal));
    const reason = new Error('stopped');
    parents[which]?.abort(reason);
    expect(life.signal.reason).toBe(reason);
  });

  it('is aborted from the start where a parent is', () => {
    const reason = new Error('stopped before');
    const parents = [new AbortController().signal, AbortSignal.abort(reason)];
    expect(linkedAbort(...parents).signal.reason).toBe(reason);
  });

  it('is aborted without its parents, and once only', () => {
    const parent = new AbortController();
    const life = linkedAbort(parent.signal);
    const reason = new Error('the part is over');
    life.abort(reason);
    parent.abort(new Error('stopped'));
    expect(life.signal.reason).toBe(reason);
    expect(linkedAbort().signal.aborted).toBe(false);
  });

  it('leaves nothing on its parents once it is released', () => {
    const parent = new AbortController();
    const life = linkedAbort(parent.signal, parent.signal);
    expect(getEventListeners(parent.signal, 'abort')).toHaveLength(2);
    life.release();
    expect(getEventListeners(parent.signal, 'abort')).toEqual([]);
    parent.abort();
    expect(life.signal.aborted).toBe(false);
  });
});
