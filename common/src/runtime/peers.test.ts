import { describe, expect, it, vi } from 'vitest';
import { clockAt } from './fixture.js';
import type { Identity } from './identity.js';
import { parsePatientId } from './patient-id.js';
import { Peers } from './peers.js';
import { nothingRevoked } from './revocation.js';

const now = new Date('2030-01-01T00:00:00Z');
const good = { serialNumber: '0A', valid_to: 'Jan  2 00:00:00 2030 GMT' };
const old = { serialNumber: '0B', valid_to: 'Dec 31 23:59:59 2029 GMT' };

describe('peers', () => {
  it('are admitted while their certificates are valid', () => {
    const peers = new Peers(() => nothingRevoked, clockAt(now));
    expect(() => {
      peers.admit(good);
    }).not.toThrow();
    expect(() => {
      peers.admit(old);
    }).toThrow(/has expired/);
  });

  it('have so many calls at once and no more, whatever connections they use', () => {
    const peers = new Peers(() => nothingRevoked, clockAt(now));
    const gateway = (name: string): Identity => {
      const patient = parsePatientId(name, 'patient');
      return { trustDomain: 'test.internal', role: 'gateway', patient };
    };
    const leaves = Array.from({ length: 32 }, () => peers.enter(gateway('bed-1')));
    const one = (): (() => void) => peers.enter(gateway('bed-1'));
    expect(one).toThrow(
      expect.objectContaining({ code: 'OVERLOADED', details: { retryAfterMs: 1000 } }),
    );
    // Nobody else is kept out by it.
    peers.enter(gateway('bed-2'))();
    leaves[0]?.();
    // A call ends once, however often that is said.
    leaves[0]?.();
    leaves[1] = one();
    expect(one).toThrow(/in progress/);
    for (const leave of leaves) leave();
    expect(Array.from({ length: 31 }, one)).toHaveLength(31);
  });

  it('lose their calls when it is over, and only those', () => {
    let list = nothingRevoked;
    const peers = new Peers(() => list, clockAt(now));
    const [ofGood, ofOld, finished] = [vi.fn(), vi.fn(), vi.fn()];
    peers.hold(good, ofGood);
    peers.hold(old, ofOld);
    peers.hold(old, finished)();
    peers.sweep();
    expect(ofGood).not.toHaveBeenCalled();
    expect(finished).not.toHaveBeenCalled();
    // To try again is right: there may be a new certificate.
    expect(ofOld).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: 'NOT_READY' }));

    list = { ...nothingRevoked, has: (serial) => serial === good.serialNumber };
    peers.sweep();
    expect(ofGood).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ code: 'UNAUTHENTICATED' }),
    );
  });
});
