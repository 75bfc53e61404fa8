import { duoveilError } from '@duoveil/common/errors';
import { elementAt } from '@duoveil/common/lists';
import { answerLabels, requestLabels } from '@duoveil/common/protocols/compare';
import type { Service } from '@duoveil/common/runtime';
import { beforeEach, describe, expect, it } from 'vitest';

import { packedService, type PackedEnvironment } from '../../../csp/src/handlers/packed.js';
import { TransferSessions } from '../../../csp/src/sessions/transfers.js';
import { localConnection, type WireCall } from '../../../harness/src/local/loopback.js';
import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { TransferSession, type SessionInstance } from './transfer-session.js';

const random = new SeededRandom('transfer session');
const { signal } = new AbortController();

/** A CSP that has nothing but sessions. */
function freshCsp(): { service: Service; sessions: TransferSessions } {
  const sessions = new TransferSessions(random);
  return { service: packedService({ sessions } as unknown as PackedEnvironment), sessions };
}

let csp: ReturnType<typeof freshCsp>;
let calls: string[];
let fail: (call: WireCall) => void;
let session: TransferSession;
beforeEach(() => {
  csp = freshCsp();
  calls = [];
  fail = () => undefined;
  const connection = localConnection(
    () => csp.service,
    (moment, call) => {
      if (moment === 'after') return;
      calls.push(call.method);
      fail(call);
    },
  );
  session = new TransferSession(connection, random);
});

const OPENING = ['offerTransfers', 'chooseTransfers'];
const lost = duoveilError('SESSION_NOT_OPEN', 'the session is not open');

/** Do both sides have what belongs together? */
function expectWorking({ id, instance, sender }: SessionInstance): void {
  const bits = [true, false, true];
  const { labels, message } = requestLabels(csp.sessions.use(id, instance), bits, instance);
  const zeroLabels = answerLabels(sender, message, bits.length, instance);
  const expected = Uint8Array.from(zeroLabels, (byte, at) =>
    bits[at >> 4] === true ? byte ^ (sender.delta[at & 15] ?? 0) : byte,
  );
  expect(labels).toEqual(expected);
}

describe('the session with the CSP', () => {
  it('is opened once for all that need it, gives no instance twice, and outlasts other failures', async () => {
    expect(calls).toEqual([]);
    const uses = await Promise.all(Array.from({ length: 10 }, () => session.next(signal)));
    expect(calls).toEqual(OPENING);
    expect(new Set(uses.map(({ id }) => id.toString('hex'))).size).toBe(1);
    expect(uses.map(({ instance }) => instance).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 10 }, (_, i) => i + 1),
    );
    uses.forEach(expectWorking);

    const [first] = uses;
    for (const error of [
      duoveilError('PEER_UNAVAILABLE', 'gone', { peer: 'csp' }),
      duoveilError('MODEL_NOT_LOADED', 'forgotten'),
      duoveilError('MESSAGE_INVALID', 'instance', { field: 'instance' }),
      new Error('something'),
      undefined,
    ]) {
      session.noteFailure(error, elementAt(uses, 0));
    }
    const seen = new Set(uses.map(({ instance }) => instance));
    for (let i = 0; i < 50; i++) {
      const { id, instance } = await session.next(signal);
      expect(id).toEqual(first?.id);
      seen.add(instance);
    }
    expect(seen.size).toBe(60);
    expect(calls).toEqual(OPENING);
    const use = await session.next(signal);
    expectWorking(use);
    expect(() => csp.sessions.use(use.id, use.instance)).toThrow('never used');
  });

  it('is opened again where the CSP has lost it, with other keys and another offset', async () => {
    const before = await session.next(signal);
    csp = freshCsp();
    expect(() => csp.sessions.use(before.id, before.instance)).toThrow(
      expect.objectContaining({ code: 'SESSION_NOT_OPEN' }),
    );
    session.noteFailure(lost, before);
    const after = await session.next(signal);
    expect(calls).toEqual([...OPENING, ...OPENING]);
    expect(after.id.equals(before.id)).toBe(false);
    expect(Buffer.from(after.sender.delta).equals(before.sender.delta)).toBe(false);
    expect(after.instance).toBe(1);
    expectWorking(after);
  });

  it('that was opened since is not given up for what was begun in the one before it', async () => {
    const uses = [await session.next(signal), await session.next(signal)];
    csp = freshCsp();
    for (const use of uses) session.noteFailure(lost, use);
    const after = await session.next(signal);
    // Others that were under way when the session was lost, and hear of it only now.
    for (const use of uses) session.noteFailure(lost, use);
    expect((await session.next(signal)).id).toEqual(after.id);
    expect(calls).toEqual([...OPENING, ...OPENING]);
    expectWorking(after);
  });

  it.each(OPENING)('that could not be opened is tried again: %s failed', async (method) => {
    let failures = 1;
    fail = (call) => {
      if (call.method === method && failures-- > 0) {
        throw duoveilError('PEER_UNAVAILABLE', 'gone for a moment', { peer: 'csp' });
      }
    };
    const attempts = await Promise.allSettled([session.next(signal), session.next(signal)]);
    expect(attempts.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const use = await session.next(signal);
    expect(use.instance).toBe(1);
    expectWorking(use);
  });
});
