/** A channel's exact integers: range and floor in quantised units. Design: protocols, section 2. */
import { duoveilError } from '../errors.js';
import { align, parseDecimal } from './decimal.js';
import type { Decimal } from './decimal.js';
import { bitLength, roundHalfUp } from '../integers.js';
import type { Channel } from './schema.js';

/** What follows exactly from a channel's `min`, `max`, `resolution` and `noiseFloor`. */
export interface ChannelScale {
  /** The channel's numbers, exact, in its own unit. */
  readonly min: Decimal;
  readonly max: Decimal;
  readonly resolution: Decimal;
  /** The largest quantised value: a sample's component is in `[0, D]`. */
  readonly D: bigint;
  /** What is added to the variance, in squared quantised units; at least 1. */
  readonly F: bigint;
  /** Bits of a quantised value: `D < 2^b`. */
  readonly b: number;
}

const known = new WeakMap<Channel, ChannelScale>();

/**
 * The exact integers of a channel: `D = floor((max-min)/resolution + 1/2)` and
 * `F = max(1, round((noiseFloor/resolution)²))`, a half rounded up, both in exact arithmetic.
 * Computed once a channel object.
 * @throws DuoveilError SCHEMA_INVALID where the channel never went through `parseSchema` and is not valid
 */
export function scaleOf(channel: Channel): ChannelScale {
  let scale = known.get(channel);
  if (scale === undefined) {
    scale = computeScale(channel);
    known.set(channel, scale);
  }
  return scale;
}

function computeScale(channel: Channel): ChannelScale {
  const read = (field: 'min' | 'max' | 'resolution' | 'noiseFloor'): Decimal => {
    const value = parseDecimal(channel[field]);
    if (value !== undefined) return value;
    const message = `channel ${channel.name}: ${field} must be a decimal number, such as "0.1"`;
    throw duoveilError('SCHEMA_INVALID', message, { field });
  };
  const [min, max, resolution, noiseFloor] = [
    read('min'),
    read('max'),
    read('resolution'),
    read('noiseFloor'),
  ];
  const {
    units: [low = 0n, high = 0n, step = 0n, floor = 0n],
  } = align(min, max, resolution, noiseFloor);
  if (high <= low || step <= 0n || floor <= 0n) {
    const message = `channel ${channel.name}: needs min < max, resolution > 0 and noiseFloor > 0`;
    throw duoveilError('SCHEMA_INVALID', message, { field: channel.name });
  }

  const D = roundHalfUp(high - low, step);
  const squared = roundHalfUp(floor * floor, step * step);
  return { min, max, resolution, D, F: squared > 1n ? squared : 1n, b: bitLength(D) };
}
