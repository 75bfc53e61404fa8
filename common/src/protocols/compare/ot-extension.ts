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
import { createCipheriv, type Cipher } from 'node:crypto';

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
  const counters = countersOf(instance, width);
  const columns: Uint8Array[] = [];
  const message = new Uint8Array(BASE_TRANSFERS * width);
  keys.forEach(([zero, one], j) => {
    const column = stretch(zero, counters);
    const other = stretch(one, counters);
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
  const counters = countersOf(instance, width);
  const columns = keys.map((key, j) => {
    const column = stretch(key, counters);
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

/** Setting a cipher up costs more than using it: those of a connection are kept as long as its keys. */
const ciphers = new WeakMap<Uint8Array, Cipher>();

/** AES-128 in counter mode, from a counter that the instance sets apart. */
function stretch(key: Uint8Array, counters: Uint8Array): Uint8Array {
  let cipher = ciphers.get(key);
  if (cipher === undefined) {
    cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
    ciphers.set(key, cipher);
  }
  return cipher.update(counters);
}

/** The counters of an instance, for so many bytes. */
function countersOf(instance: number, bytes: number): Uint8Array {
  const blocks = Math.ceil(bytes / KEY_BYTES);
  const counters = Buffer.alloc(blocks * KEY_BYTES);
  for (let block = 0; block < blocks; block++) {
    counters.writeBigUInt64BE(BigInt(instance), block * KEY_BYTES);
    counters.writeUInt32BE(block, (block + 1) * KEY_BYTES - 4);
  }
  return counters;
}

/** 128 columns of bits as rows of 16 bytes each, one after the other. */
function transpose(columns: readonly Uint8Array[], count: number): Uint8Array {
  const rows = new Uint8Array(columnBytes(count) * 8 * LABEL_BYTES);
  for (let byte = 0; byte < LABEL_BYTES; byte++) {
    const eight = columns.slice(8 * byte, 8 * byte + 8);
    for (let i = 0; i < columnBytes(count); i++) {
      transposeSquare(eight, i, rows, 8 * i * LABEL_BYTES + byte);
    }
  }
  return rows.subarray(0, count * LABEL_BYTES);
}

/**
 * Eight times eight bits, by swapping ever larger blocks (H. S. Warren, *Hacker's Delight*, §7-3):
 * byte `i` of each column into the bytes of eight rows from `at` on.
 */
function transposeSquare(
  columns: readonly Uint8Array[],
  i: number,
  rows: Uint8Array,
  at: number,
): void {
  const column = (j: number): number => columns[j]?.[i] ?? 0;
  let low = column(0) | (column(1) << 8) | (column(2) << 16) | (column(3) << 24);
  let high = column(4) | (column(5) << 8) | (column(6) << 16) | (column(7) << 24);
  let swapped = (low ^ (low >>> 7)) & 0x00aa00aa;
  low ^= swapped ^ (swapped << 7);
  swapped = (high ^ (high >>> 7)) & 0x00aa00aa;
  high ^= swapped ^ (swapped << 7);
  swapped = (low ^ (low >>> 14)) & 0x0000cccc;
  low ^= swapped ^ (swapped << 14);
  swapped = (high ^ (high >>> 14)) & 0x0000cccc;
  high ^= swapped ^ (swapped << 14);
  swapped = (high ^ (low >>> 4)) & 0x0f0f0f0f;
  high ^= swapped;
  low ^= swapped << 4;
  for (let row = 0; row < 4; row++) {
    rows[at + row * LABEL_BYTES] = low >>> (8 * row);
    rows[at + (row + 4) * LABEL_BYTES] = high >>> (8 * row);
  }
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
