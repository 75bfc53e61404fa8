/** Correlated transfers: the correlation, and that no stretch is used twice. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { SeededRandom } from '../../../../harness/src/local/randomness.js';
import type { RandomSource } from '../../random.js';
import { BASE_TRANSFERS } from './base-ot.js';
import { colour, LABEL_BYTES } from './half-gates.js';
import {
  answerLabels,
  drawDelta,
  messageBytes,
  requestLabels,
  type ExtensionReceiver,
  type ExtensionSender,
} from './ot-extension.js';

/** Both sides of a connection, as base transfers leave them. */
function connection(random: RandomSource): {
  sender: ExtensionSender;
  receiver: ExtensionReceiver;
} {
  const { delta, choices } = drawDelta(random);
  const keys = choices.map(() => [random.bytes(16), random.bytes(16)] as const);
  const chosen = keys.map(([zero, one], j) => (choices[j] === true ? one : zero));
  return { sender: { delta, keys: chosen }, receiver: { keys } };
}

const rows = (labels: Uint8Array) =>
  Array.from({ length: labels.length / LABEL_BYTES }, (_, i) =>
    labels.subarray(i * LABEL_BYTES, (i + 1) * LABEL_BYTES),
  );
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const xor = (a: Uint8Array, b: Uint8Array) => a.map((byte, i) => byte ^ (b[i] ?? 0));
const drawBits = (count: number, random: RandomSource) =>
  Array.from(random.bytes(count), (byte) => (byte & 1) === 1);

function expectCorrelated(bits: readonly boolean[], instance: number, random: RandomSource) {
  const { sender, receiver } = connection(random);
  const { labels, message } = requestLabels(receiver, bits, instance);
  expect(message).toHaveLength(messageBytes(bits.length));
  const zeroLabels = answerLabels(sender, message, bits.length, instance);
  const expected = rows(zeroLabels).map((q, i) => hex(bits[i] === true ? xor(q, sender.delta) : q));
  expect(expected).toHaveLength(bits.length);
  expect(rows(labels).map(hex)).toEqual(expected);
}

describe('correlated transfers', () => {
  it('give t = q ⊕ x·s, for any bits, any number of them and any instance', () => {
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { maxLength: 300 }),
        fc.integer({ min: 0, max: 0xffff_ffff }),
        fc.string(),
        (bits, instance, seed) => {
          expectCorrelated(bits, instance, new SeededRandom(`correlation/${seed}`));
        },
      ),
      { numRuns: 60, seed: 3 },
    );
  });

  it.each([1, 2, 7, 8, 9, 15, 16, 17, 127, 128, 129, 1023])('do so for %i bits', (count) => {
    const random = new SeededRandom(`count/${count}`);
    expectCorrelated(drawBits(count, random), 1, random);
    expectCorrelated(Array<boolean>(count).fill(true), 2, random);
    expectCorrelated(Array<boolean>(count).fill(false), 3, random);
    expect(messageBytes(count)).toBe(BASE_TRANSFERS * Math.ceil(count / 8));
  });

  it('have an offset of colour 1 with random bits otherwise, which are the choices', () => {
    const random = new SeededRandom('offsets');
    const drawn = Array.from({ length: 200 }, () => drawDelta(random));
    for (const { delta, choices } of drawn) {
      expect(colour(delta)).toBe(1);
      const bytes = Uint8Array.from({ length: LABEL_BYTES }, (_, i) =>
        choices.slice(8 * i, 8 * i + 8).reduce((byte, bit, k) => byte | (Number(bit) << k), 0),
      );
      expect(hex(bytes)).toBe(hex(delta));
    }
    // Each of the other bits takes both values.
    for (let j = 0; j < BASE_TRANSFERS; j++) {
      const ones = drawn.filter(({ choices }) => choices[j] === true).length;
      if (j === BASE_TRANSFERS - 8) expect(ones).toBe(drawn.length);
      else expect(Math.abs(ones - 100)).toBeLessThan(45);
    }
  });

  it('fail where the two sides number the instance differently', () => {
    const random = new SeededRandom('numbers');
    const { sender, receiver } = connection(random);
    const bits = drawBits(24, random);
    const { labels, message } = requestLabels(receiver, bits, 7);
    const right = rows(answerLabels(sender, message, 24, 7));
    const wrong = rows(answerLabels(sender, message, 24, 8));
    const fits = (list: readonly Uint8Array[]) =>
      rows(labels).filter((t, i) =>
        [hex(list[i] ?? t), hex(xor(list[i] ?? t, sender.delta))].includes(hex(t)),
      ).length;
    expect(fits(right)).toBe(24);
    expect(hex(wrong[0] ?? labels)).not.toBe(hex(right[0] ?? labels));
    expect(fits(wrong)).toBe(0);
  });

  it('refuse a message of another length', () => {
    const random = new SeededRandom('lengths');
    const { sender, receiver } = connection(random);
    const { message } = requestLabels(receiver, drawBits(20, random), 1);
    const bad = [message.subarray(1), Buffer.concat([message, Buffer.alloc(1)]), Buffer.alloc(0)];
    for (const wrong of bad) {
      expect(() => answerLabels(sender, wrong, 20, 1)).toThrow(
        expect.objectContaining({ code: 'MESSAGE_INVALID', details: { field: 'labels' } }),
      );
    }
    expect(() => answerLabels(sender, message, 25, 1)).toThrow('labels must have');
    expect(answerLabels(sender, message, 20, 1)).toHaveLength(20 * LABEL_BYTES);
  });
});

describe('instances', () => {
  it('share no stretch: no label comes again, at any offset, however long they are', () => {
    const random = new SeededRandom('instances');
    const { receiver } = connection(random);
    const count = 2048;
    const bits = Array<boolean>(count).fill(false);
    const instances = [0, 1, 2, 3, 255, 256, 0xffff_fffe, 0xffff_ffff];
    const labels = instances.flatMap((instance) =>
      rows(requestLabels(receiver, bits, instance).labels).map(hex),
    );
    expect(labels).toHaveLength(count * instances.length);
    expect(new Set(labels).size).toBe(labels.length);
  });

  it('say the same for the same number: nothing depends on what was lost before', () => {
    const { receiver } = connection(new SeededRandom('order'));
    const bits = [true, false, true];
    const first = requestLabels(receiver, bits, 5);
    requestLabels(receiver, bits, 6);
    expect(requestLabels(receiver, bits, 5)).toEqual(first);
  });

  it('must never come twice: the sum of two messages would be that of the inputs', () => {
    const random = new SeededRandom('twice');
    const { receiver } = connection(random);
    const [first, second] = [drawBits(40, random), drawBits(40, random)];
    const sum = xor(packed(first), packed(second));
    const columns = (a: number, b: number) => {
      const one = requestLabels(receiver, first, a).message;
      const two = requestLabels(receiver, second, b).message;
      const width = one.length / BASE_TRANSFERS;
      return Array.from({ length: BASE_TRANSFERS }, (_, j) =>
        hex(xor(one, two).subarray(j * width, (j + 1) * width)),
      );
    };
    // With one number used twice, every column is the XOR of the two inputs.
    expect(new Set(columns(9, 9))).toEqual(new Set([hex(sum)]));
    // With two numbers, no column is, and no two are the same.
    expect(columns(9, 10)).not.toContain(hex(sum));
    expect(new Set(columns(9, 10)).size).toBe(BASE_TRANSFERS);
  });

  it('have messages of which every bit is as likely 1 as 0, whatever the input', () => {
    const random = new SeededRandom('messages');
    const { receiver } = connection(random);
    for (const bit of [false, true]) {
      const { message } = requestLabels(receiver, Array<boolean>(1024).fill(bit), Number(bit));
      const ones = message.reduce(
        (sum, byte) => sum + byte.toString(2).replace(/0/g, '').length,
        0,
      );
      const bits = 8 * message.length;
      expect(Math.abs(ones - bits / 2)).toBeLessThan(5 * Math.sqrt(bits / 4));
    }
  });
});

function packed(bits: readonly boolean[]): Uint8Array {
  return Uint8Array.from({ length: Math.ceil(bits.length / 8) }, (_, i) =>
    bits.slice(8 * i, 8 * i + 8).reduce((byte, bit, k) => byte | (Number(bit) << k), 0),
  );
}
