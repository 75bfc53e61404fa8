/**
 * Randomness, injected: every function that draws takes a {@link RandomSource} as its last
 * argument, so that tests replay exact transcripts and nothing draws from anywhere else.
 */
import { createHmac, randomBytes } from 'node:crypto';

import { bitLength } from './integers.js';

/** A source of uniformly random bytes. */
export interface RandomSource {
  /** `length` fresh bytes; the caller owns them and may overwrite them. */
  bytes(length: number): Uint8Array;
}

/** The operating system's generator, through `node:crypto`: the only source outside of tests. */
export const systemRandom: RandomSource = {
  bytes: (length) => randomBytes(length),
};

/**
 * Bytes that follow from a secret key and a context, so that the same context always draws the same:
 * HMAC-SHA-512 in counter mode, NIST SP 800-108.
 */
export function derivedRandom(key: Uint8Array, context: Uint8Array): RandomSource {
  const seed = createHmac('sha512', key).update(context).digest();
  let counter = 0n;
  let stock = Buffer.alloc(0);
  return {
    bytes(length) {
      while (stock.length < length) {
        const block = createHmac('sha512', seed).update(bytesFromInteger(counter, 8)).digest();
        counter += 1n;
        stock = Buffer.concat([stock, block]);
      }
      const drawn = Uint8Array.from(stock.subarray(0, length));
      stock = stock.subarray(length);
      return drawn;
    },
  };
}

/** Bytes, big-endian, as a non-negative integer. */
export function integerFromBytes(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return BigInt(`0x${view.toString('hex')}`);
}

/**
 * A non-negative integer as exactly `length` bytes, big-endian.
 * @throws RangeError where it does not fit: a defect of the caller.
 */
export function bytesFromInteger(value: bigint, length: number): Buffer {
  const hex = value.toString(16);
  if (value < 0n || hex.length > 2 * length) {
    throw new RangeError(`integer does not fit ${String(length)} bytes`);
  }
  return Buffer.from(hex.padStart(2 * length, '0'), 'hex');
}

/** A uniform integer of at most `bits` bits: in `[0, 2^bits)`. */
export function uniformBits(bits: number, random: RandomSource): bigint {
  const surplus = (8 - (bits % 8)) % 8;
  return integerFromBytes(random.bytes(Math.ceil(bits / 8))) >> BigInt(surplus);
}

/** A uniform integer in `[0, bound)`, `bound > 0`, by rejection: exactly uniform. */
export function uniformBelow(bound: bigint, random: RandomSource): bigint {
  if (bound <= 0n) throw new RangeError('bound must be positive');
  const bits = bitLength(bound - 1n);
  if (bits === 0) return 0n;
  for (;;) {
    const candidate = uniformBits(bits, random);
    if (candidate < bound) return candidate;
  }
}

/** A uniform integer in `[low, high]`. */
export function uniformBetween(low: bigint, high: bigint, random: RandomSource): bigint {
  return low + uniformBelow(high - low + 1n, random);
}
