/** Sessions of oblivious transfers, and comparisons that wait for their circuit. */
import { levelCircuit } from '@duoveil/common/protocols/compare';
import {
  answerLabels,
  chooseTransfers,
  GROUP_BYTES,
  requestLabels,
  type PendingComparison,
} from '@duoveil/common/protocols/compare';
import { beforeAll, describe, expect, it } from 'vitest';

import { SeededRandom } from '../../../harness/src/local/randomness.js';
import { Comparisons } from './comparisons.js';
import { ID_BYTES, TransferSessions } from './transfers.js';

const random = new SeededRandom('sessions');
const delta = Uint8Array.from(new SeededRandom('offset').bytes(16), (byte, i) =>
  i === 15 ? byte | 1 : byte,
);
const choices = Array.from(
  { length: 128 },
  (_, j) => (((delta[j >> 3] ?? 0) >> (j & 7)) & 1) === 1,
);

/** How many instances may overtake one. */
const REORDERING = 4096;

const notOpen = expect.objectContaining({ code: 'SESSION_NOT_OPEN' }) as Error;
const used = expect.objectContaining({
  code: 'MESSAGE_INVALID',
  details: { field: 'instance' },
}) as Error;

async function opened(sessions: TransferSessions) {
  const { id, message: offer } = sessions.offer();
  const { message, keys } = await chooseTransfers(offer, choices, random);
  await sessions.choose(id, message);
  return { id, message, sender: { delta, keys } };
}

describe('a session', () => {
  let sessions: TransferSessions;
  let session: Awaited<ReturnType<typeof opened>>;
  beforeAll(async () => {
    sessions = new TransferSessions(random);
    session = await opened(sessions);
  });

  it('gives keys that belong to those of the other side', () => {
    const bits = [true, false, true, true, false];
    const { labels, message } = requestLabels(sessions.use(session.id, 1), bits, 1);
    const zeroLabels = answerLabels(session.sender, message, bits.length, 1);
    const expected = Uint8Array.from(zeroLabels, (byte, at) =>
      bits[at >> 4] === true ? byte ^ (delta[at & 15] ?? 0) : byte,
    );
    expect(labels).toEqual(expected);
  });

  it('takes the choices of an offer once', async () => {
    await expect(sessions.choose(session.id, session.message)).rejects.toEqual(notOpen);
  });

  it('that nobody opened is not open: unknown, only offered, or of a strange name', () => {
    const { id } = sessions.offer();
    for (const name of [id, Buffer.alloc(ID_BYTES), Buffer.alloc(0), Buffer.alloc(999)]) {
      expect(() => sessions.use(name, 1)).toThrow(notOpen);
    }
  });

  it('is not opened by choices that are wrong, and its offer is gone then', async () => {
    const { id, message } = sessions.offer();
    const right = await chooseTransfers(message, choices, random);
    await expect(sessions.choose(id, right.message.subarray(GROUP_BYTES))).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
    expect(() => sessions.use(id, 1)).toThrow(notOpen);
    await expect(sessions.choose(id, right.message)).rejects.toEqual(notOpen);
  });

  it('is used once for each instance, in any order within the window, and not beyond it', () => {
    const use = (instance: number) => sessions.use(session.id, instance);
    expect(() => use(1)).toThrow(used);
    for (const instance of [5, 3, 4, 2, 0]) expect(use(instance).keys).toHaveLength(128);
    for (const instance of [0, 1, 2, 3, 4, 5]) expect(() => use(instance)).toThrow(used);

    const newest = 10_000;
    use(newest);
    // All of the window is there still, and nothing behind it, whether it was used or not.
    for (const instance of [newest - REORDERING, 6, 5, 0, -1]) {
      expect(() => use(instance)).toThrow(used);
    }
    for (const instance of [newest - REORDERING + 1, newest - 1, newest - 100]) {
      expect(use(instance).keys).toHaveLength(128);
      expect(() => use(instance)).toThrow(used);
    }
    expect(() => use(newest)).toThrow(used);

    // A move by one lets exactly the oldest go.
    use(newest + 1);
    expect(() => use(newest - REORDERING + 1)).toThrow(used);
    expect(use(newest - REORDERING + 2).keys).toHaveLength(128);
  });

  it('admits none twice over a long walk with overtaking', () => {
    const base = 20_000;
    const seen = new Set<number>();
    const walk = new SeededRandom('walk');
    let newest = base;
    for (let step = 0; step < 6000; step++) {
      const [low = 0, high = 0] = walk.bytes(2);
      const instance = base + step + (((high << 8) + low) % 5000);
      let admitted = true;
      try {
        sessions.use(session.id, instance);
      } catch (error) {
        expect(error).toEqual(used);
        admitted = false;
      }
      expect(admitted).toBe(!seen.has(instance) && instance > newest - REORDERING);
      if (admitted) seen.add(instance);
      newest = Math.max(newest, instance);
    }
    expect(seen.size).toBeGreaterThan(1000);
    expect(seen.size).toBeLessThan(6000);
  });
});

describe('offers', () => {
  it('are bounded: the oldest are forgotten', async () => {
    const sessions = new TransferSessions(random);
    const first = sessions.offer();
    const rest = Array.from({ length: 64 }, () => sessions.offer());
    await expect(sessions.choose(first.id, new Uint8Array(0))).rejects.toEqual(notOpen);
    // The one after it is there: it gets as far as to look at the choices.
    await expect(
      sessions.choose(rest[0]?.id ?? Buffer.alloc(0), new Uint8Array(0)),
    ).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
  });

  it('have names and messages that never come twice', () => {
    const sessions = new TransferSessions(random);
    const offers = Array.from({ length: 20 }, () => sessions.offer());
    expect(offers.every(({ id }) => id.length === ID_BYTES)).toBe(true);
    expect(new Set(offers.map(({ id }) => id.toString('hex'))).size).toBe(20);
    const messages = offers.map(({ message }) => Buffer.from(message).toString('hex'));
    expect(new Set(messages).size).toBe(20);
  });
});

describe('comparisons', () => {
  const pending = (n: number): PendingComparison => ({
    circuit: levelCircuit(1, 1),
    labels: new Uint8Array(32).fill(n),
  });

  it('are taken once, each by its name', () => {
    const comparisons = new Comparisons(random);
    const [one, two] = [comparisons.add(pending(1)), comparisons.add(pending(2))];
    expect(one).toHaveLength(ID_BYTES);
    expect(one.equals(two)).toBe(false);
    expect(comparisons.take(two).labels[0]).toBe(2);
    expect(comparisons.take(one).labels[0]).toBe(1);
    for (const id of [one, two, Buffer.alloc(ID_BYTES), Buffer.alloc(0)]) {
      expect(() => comparisons.take(id)).toThrow(notOpen);
    }
  });

  it('are bounded: the oldest are forgotten', () => {
    const comparisons = new Comparisons(random);
    const ids = Array.from({ length: 1025 }, (_, i) => comparisons.add(pending(i & 0xff)));
    expect(() => comparisons.take(ids[0] ?? Buffer.alloc(0))).toThrow(notOpen);
    expect(comparisons.take(ids[1] ?? Buffer.alloc(0)).labels[0]).toBe(1);
    expect(comparisons.take(ids[1024] ?? Buffer.alloc(0)).labels[0]).toBe(0);
  });
});
