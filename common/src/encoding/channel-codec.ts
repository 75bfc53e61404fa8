import { parseSchema, type Schema } from './schema.js';

/** A channel as it travels: the fields of `duoveil.v1.Channel`. */
export interface EncodedChannel {
  readonly name: string;
  readonly unit: string;
  readonly minimum: string;
  readonly maximum: string;
  readonly resolution: string;
  readonly noiseFloor: string;
  readonly loinc: string;
}

/** Encode for the wire. */
export function encodeChannels({ channels }: Schema): EncodedChannel[] {
  return channels.map(({ name, unit, min, max, resolution, noiseFloor, loinc }) => ({
    name,
    unit,
    minimum: min,
    maximum: max,
    resolution,
    noiseFloor,
    loinc,
  }));
}

/**
 * Decode and check.
 * @throws DuoveilError `SCHEMA_INVALID`
 */
export function decodeChannels(channels: readonly EncodedChannel[], where: string): Schema {
  const fields = channels.map(
    ({ name, unit, minimum, maximum, resolution, noiseFloor, loinc }) => ({
      name,
      unit,
      min: minimum,
      max: maximum,
      resolution,
      noiseFloor,
      loinc,
    }),
  );
  return parseSchema({ channels: fields }, where);
}
