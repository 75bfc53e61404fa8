/** Base oblivious transfers: what both sides have in the end, and what they refuse. */
import { ristretto255, ristretto255_hasher } from '@noble/curves/ed25519.js';
import { beforeAll, describe, expect, it } from 'vitest';

import { SeededRandom } from '../../../../harness/src/local/randomness.js';
import { elementAt } from '../../lists.js';
import {
  acceptTransfers,
  BASE_TRANSFERS,
  chooseTransfers,
  GROUP_BYTES,
  KEY_BYTES,
  offerTransfers,
} from './base-ot.js';

const random = new SeededRandom('base transfers');
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** A pattern and its complement: between them, every transfer has both choices. */
const pattern = Array.from({ length: BASE_TRANSFERS }, (_, i) => ((i * 7919) >> 3) % 2 === 1);
const patterns = [pattern, pattern.map((choice) => !choice)];

async function transfer(choices: readonly boolean[]) {
  const sender = offerTransfers(random);
  const { message, keys } = await chooseTransfers(sender.message, choices, random);
  return { sender, choices, message, keys, pairs: await acceptTransfers(sender, message) };
}

let runs: Awaited<ReturnType<typeof transfer>>[];
beforeAll(async () => {
  runs = [];
  for (const choices of patterns) runs.push(await transfer(choices));
});

describe('base transfers', () => {
  it('give the receiver the key of its choice, and the sender both', () => {
    for (const { choices, keys, pairs, message, sender } of runs) {
      expect(sender.message).toHaveLength(GROUP_BYTES);
      expect(message).toHaveLength(2 * GROUP_BYTES * BASE_TRANSFERS);
      const chosen = pairs.map(([zero, one], i) => (choices[i] === true ? one : zero));
      expect(keys.map(hex)).toEqual(chosen.map(hex));
      expect(keys.every((key) => key.length === KEY_BYTES)).toBe(true);
    }
    expect(new Set(pattern).size).toBe(2);
  });

  it('give no key twice: not in a pair, not between transfers, not between runs', () => {
    const keys = runs.flatMap(({ pairs }) => pairs.flat().map(hex));
    expect(keys).toHaveLength(4 * BASE_TRANSFERS);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('say nothing twice: every element of every message is another', () => {
    const elements = runs.flatMap(({ message }) =>
      Array.from({ length: 2 * BASE_TRANSFERS }, (_, i) =>
        hex(message.subarray(i * GROUP_BYTES, (i + 1) * GROUP_BYTES)),
      ),
    );
    expect(new Set(elements).size).toBe(4 * BASE_TRANSFERS);
  });

  it('give other keys where two transfers are exchanged: each belongs to its place', async () => {
    const { sender, message, pairs } = elementAt(runs, 0);
    const width = 2 * GROUP_BYTES;
    const exchanged = Uint8Array.from(message);
    exchanged.set(message.subarray(width, 2 * width), 0);
    exchanged.set(message.subarray(0, width), width);
    const found = await acceptTransfers(sender, exchanged);
    const before = new Set(pairs.flat().map(hex));
    expect(found.slice(0, 2).flat().map(hex)).toHaveLength(4);
    expect(
      found
        .slice(0, 2)
        .flat()
        .some((key) => before.has(hex(key))),
    ).toBe(false);
    expect(found.slice(2).flat().map(hex)).toEqual(pairs.slice(2).flat().map(hex));
  });
});

describe('choices', () => {
  it.each([0, 1, 2 * GROUP_BYTES * BASE_TRANSFERS - 1, 2 * GROUP_BYTES * (BASE_TRANSFERS + 1)])(
    'of %i bytes are refused',
    async (length) => {
      const { sender } = elementAt(runs, 0);
      await expect(acceptTransfers(sender, new Uint8Array(length))).rejects.toMatchObject({
        code: 'MESSAGE_INVALID',
        details: { field: 'choices' },
      });
    },
  );

  it.each([
    { name: 'that is no element', bytes: Buffer.alloc(GROUP_BYTES, 0xff) },
    { name: 'of an encoding that is not the canonical one', bytes: negative() },
    { name: 'of the identity', bytes: Buffer.alloc(GROUP_BYTES) },
  ])('with bytes $name are refused, wherever they stand', async ({ bytes }) => {
    const { sender, message } = elementAt(runs, 0);
    for (const position of [0, 1, 2]) {
      const changed = Uint8Array.from(message);
      changed.set(bytes, position * GROUP_BYTES);
      await expect(acceptTransfers(sender, changed)).rejects.toMatchObject({
        code: 'MESSAGE_INVALID',
        details: { field: 'choices' },
      });
    }
  });

  it('whose key would be that of the identity are refused', async () => {
    const { sender, message } = elementAt(runs, 0);
    for (const index of [0, 5]) {
      const at = 2 * GROUP_BYTES * index;
      const other = message.subarray(at + GROUP_BYTES, at + 2 * GROUP_BYTES);
      const hashed = ristretto255_hasher.hashToCurve(Uint8Array.from(other), {
        DST: `duoveil/base-ot/v1/${index}`,
      });
      const changed = Uint8Array.from(message);
      changed.set(ristretto255.Point.ZERO.subtract(hashed).toBytes(), at);
      await expect(acceptTransfers(sender, changed)).rejects.toMatchObject({
        code: 'MESSAGE_INVALID',
        details: { field: 'choices' },
      });
    }
  });
});

describe('an offer', () => {
  it.each([
    { name: 'of no bytes', bytes: Buffer.alloc(0) },
    { name: 'of a byte too few', bytes: Buffer.alloc(GROUP_BYTES - 1) },
    { name: 'of a byte too many', bytes: Buffer.alloc(GROUP_BYTES + 1) },
    { name: 'that is no element', bytes: Buffer.alloc(GROUP_BYTES, 0xff) },
    { name: 'of an encoding that is not the canonical one', bytes: negative() },
    { name: 'of the identity', bytes: Buffer.from(ristretto255.Point.ZERO.toBytes()) },
  ])('$name is refused', async ({ bytes }) => {
    await expect(chooseTransfers(bytes, [true], random)).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
      details: { field: 'offer' },
    });
  });
});

/** An element with its lowest bit set: RFC 9496 calls it negative, and decoding refuses it. */
function negative(): Buffer {
  const bytes = Buffer.from(ristretto255.Point.BASE.toBytes());
  bytes[0] = (bytes[0] ?? 0) | 1;
  return bytes;
}
