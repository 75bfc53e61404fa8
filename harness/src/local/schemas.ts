import { parseSchema, type Schema } from '@duoveil/common/encoding';

/** A channel by its integers: values in `[0, D]`, and the root of its floor. */
export interface TestChannel {
  readonly D: bigint;
  /** From 1 to `D`: `F` is its square. */
  readonly floor: bigint;
}

/** A schema of channels that are whole numbers from 0 on. */
export function schemaOf(channels: readonly TestChannel[]): Schema {
  return parseSchema(
    {
      channels: channels.map(({ D, floor }, i) => ({
        name: `C${i}`,
        min: '0',
        max: D.toString(),
        resolution: '1',
        noiseFloor: floor.toString(),
      })),
    },
    'a test',
  );
}

/** Channels of so many bits each, with floors of 1. */
export function schemaOfBits(...bits: readonly number[]): Schema {
  return schemaOf(bits.map((b) => ({ D: (1n << BigInt(b)) - 1n, floor: 1n })));
}
