/** From the bytes of a WFDB signal file to frames: one sample of each of the file's signals. */
import type { WfdbFormat } from './wfdb-header.js';

/** The sample value that stands for "no sample", by format. */
export const NO_SAMPLE = { 16: -32_768, 212: -2048 } as const satisfies Record<WfdbFormat, number>;

/**
 * Frames, in order. What is left at the end and makes no whole frame is left out.
 * @param signals signals in the file, at least 1
 */
export async function* wfdbFrames(
  chunks: AsyncIterable<Buffer>,
  format: WfdbFormat,
  signals: number,
): AsyncGenerator<readonly number[], void> {
  const decode = format === 16 ? decode16 : decode212;
  let bytes: Buffer = Buffer.alloc(0);
  let values: number[] = [];
  for await (const chunk of chunks) {
    bytes = Buffer.concat([bytes, chunk]);
    const decoded = decode(bytes);
    values = values.concat(decoded.values);
    bytes = bytes.subarray(decoded.used);
    let from = 0;
    for (; from + signals <= values.length; from += signals)
      yield values.slice(from, from + signals);
    values = values.slice(from);
  }
  // An odd number of samples ends with two bytes.
  if (format === 212 && bytes.length === 2) values.push(first212(bytes, 0));
  if (values.length === signals) yield values;
}

interface Decoded {
  readonly values: readonly number[];
  /** Bytes that they were made of. */
  readonly used: number;
}

function decode16(bytes: Buffer): Decoded {
  const values: number[] = [];
  let at = 0;
  for (; at + 2 <= bytes.length; at += 2) values.push(bytes.readInt16LE(at));
  return { values, used: at };
}

function decode212(bytes: Buffer): Decoded {
  const values: number[] = [];
  let at = 0;
  for (; at + 3 <= bytes.length; at += 3) {
    const second = ((bytes.readUInt8(at + 1) & 0xf0) << 4) | bytes.readUInt8(at + 2);
    values.push(first212(bytes, at), signed12(second));
  }
  return { values, used: at };
}

function first212(bytes: Buffer, at: number): number {
  return signed12(((bytes.readUInt8(at + 1) & 0x0f) << 8) | bytes.readUInt8(at));
}

function signed12(value: number): number {
  return value >= 2048 ? value - 4096 : value;
}
