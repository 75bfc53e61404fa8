/**
 * Correlated oblivious transfer, extended from 128 base transfers by symmetric cryptography alone:
 * for each of its bits `x_i` the receiver gets `t_i = q_i ⊕ x_i·s`, the sender has `q_i` and `s`.
 * With `s` as the offset of free XOR these are the labels of the receiver's input wires.
 *
 * Y. Ishai, J. Kilian, K. Nissim, E. Petrank, *Extending oblivious transfers efficiently*, Crypto
 * 2003, figure 1; correlated: G. Asharov, Y. Lindell, T. Schneider, M. Zohner, CCS 2013.
 *
 * The sender of the extension is the receiver of the base transfers, with the bits of `s` as choices;
 * its lowest bit is 1, the colour that an offset needs. Every use has an instance number of its own,
 * from which the columns are stretched: nothing depends on what was lost before.
 */
import { createCipheriv } from 'node:crypto';

import { duoveilError } from '../../errors.js';
import type { RandomSource } from '../../random.js';
import { BASE_TRANSFERS, KEY_BYTES } from './base-ot.js';
import { LABEL_BYTES } from './half-gates.js';

/** The sender's side of a connection: `s`, and of each base transfer the key that it chose. */
export interface ExtensionSender {
  /** `s`, 16 bytes of colour 1. */
  readonly delta: Uint8Array;
  readonly keys: readonly Uint8Array[];
}

/** The receiver's side of a connection: both keys of each base transfer. */
export interface ExtensionReceiver {
  readonly keys: readonly (readonly [zero: Uint8Array, one: Uint8Array])[];
}

/** Draw `s`: the choices of the base transfers, and the offset. */
export function drawDelta(random: RandomSource): { delta: Uint8Array; choices: boolean[] } {
  const delta = Uint8Array.from(random.bytes(LABEL_BYTES));
  delta[LABEL_BYTES - 1] = (delta[LABEL_BYTES - 1] ?? 0) | 1;
  return { delta, choices: Array.from({ length: BASE_TRANSFERS }, (_, j) => bitOf(delta, j)) };
}

/**
 * Receiver: its labels, and the message from which the sender computes the others.
 * @param instance never the same twice on a connection
 */
export function requestLabels(
  { keys }: ExtensionReceiver,
  bits: readonly boolean[],
  instance: number,
): { labels: Uint8Array; message: Uint8Array } {
  const width = columnBytes(bits.length);
  const choices = packBits(bits);
  const columns: Uint8Array[] = [];
  const message = new Uint8Array(BASE_TRANSFERS * width);
  keys.forEach(([zero, one], j) => {
    const column = stretch(zero, instance, width);
    const other = stretch(one, instance, width);
    columns.push(column);
    for (let i = 0; i < width; i++) {
      message[j * width + i] = (column[i] ?? 0) ^ (other[i] ?? 0) ^ (choices[i] ?? 0);
    }
  });
  return { labels: transpose(columns, bits.length), message };
}

/**
 * Sender: the label that means 0 of each of the receiver's bits.
 * @throws DuoveilError `MESSAGE_INVALID`
 */
export function answerLabels(
  { delta, keys }: ExtensionSender,
  message: Uint8Array,
  count: number,
  instance: number,
): Uint8Array {
  const width = columnBytes(count);
  if (message.length !== BASE_TRANSFERS * width) {
    throw duoveilError('MESSAGE_INVALID', `labels must have ${BASE_TRANSFERS * width} bytes`, {
      field: 'labels',
    });
  }
  const columns = keys.map((key, j) => {
    const column = stretch(key, instance, width);
    const mask = bitOf(delta, j) ? 0xff : 0;
    for (let i = 0; i < width; i++) {
      column[i] = (column[i] ?? 0) ^ ((message[j * width + i] ?? 0) & mask);
    }
    return column;
  });
  return transpose(columns, count);
}

/** Bytes of the receiver's message for a number of bits. */
export function messageBytes(count: number): number {
  return BASE_TRANSFERS * columnBytes(count);
}

function columnBytes(count: number): number {
  return Math.ceil(count / 8);
}

/** AES-128 in counter mode, from a counter that the instance sets apart. */
function stretch(key: Uint8Array, instance: number, length: number): Uint8Array {
  const counter = Buffer.alloc(KEY_BYTES);
  counter.writeBigUInt64BE(BigInt(instance), 0);
  return createCipheriv('aes-128-ctr', key, counter).update(new Uint8Array(length));
}

/** 128 columns of bits as rows of 16 bytes each, one after the other. */
function transpose(columns: readonly Uint8Array[], count: number): Uint8Array {
  const rows = new Uint8Array(count * LABEL_BYTES);
  columns.forEach((column, j) => {
    const byte = j >> 3;
    const shift = j & 7;
    for (let i = 0; i < count; i++) {
      const bit = ((column[i >> 3] ?? 0) >> (i & 7)) & 1;
      const at = i * LABEL_BYTES + byte;
      rows[at] = (rows[at] ?? 0) | (bit << shift);
    }
  });
  return rows;
}

function packBits(bits: readonly boolean[]): Uint8Array {
  const packed = new Uint8Array(columnBytes(bits.length));
  bits.forEach((bit, i) => {
    if (bit) packed[i >> 3] = (packed[i >> 3] ?? 0) | (1 << (i & 7));
  });
  return packed;
}

/** Bit `j` of 16 bytes, in the order of {@link transpose}. */
function bitOf(bytes: Uint8Array, j: number): boolean {
  return (((bytes[j >> 3] ?? 0) >> (j & 7)) & 1) === 1;
}
