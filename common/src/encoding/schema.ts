/** Channel schemas: which quantities a sample has, their range, resolution and noise floor. */
import { z } from 'zod';
import { duoveilError } from '../errors.js';
import { compareDecimals, formatDecimal, parseDecimal, unitsAt } from './decimal.js';
import { parseWith } from './parse-with.js';
import { scaleOf } from './scale.js';

/**
 * One measured quantity. Numbers are decimal strings in canonical form (`formatDecimal`) and in the
 * channel's own unit, so that every party quantises alike.
 */
export interface Channel {
  /** Column name; 1 to 64 characters, unique within the schema. */
  readonly name: string;
  /** Unit of measurement, for people: `beats/min`. */
  readonly unit: string;
  /** Smallest valid value. */
  readonly min: string;
  /** Largest valid value, greater than `min`. */
  readonly max: string;
  /** Distance of neighbouring quantised values; greater than 0, at most `max - min`. */
  readonly resolution: string;
  /** The device's accuracy as a standard deviation; greater than 0, at most `max - min`. */
  readonly noiseFloor: string;
  /** LOINC code of the quantity, such as `8867-4`; empty where it has none. */
  readonly loinc: string;
}

/** The components of a sample, in their order. */
export interface Schema {
  /** 1 to {@link MAX_CHANNELS} channels with different names. */
  readonly channels: readonly Channel[];
}

/** Most channels in a schema. */
export const MAX_CHANNELS = 8;

/** A quantised value has at most this many bits: `D < 2^24`. */
export const MAX_CHANNEL_BITS = 24;

/** A decimal string or a number, made canonical. */
const decimal = z.unknown().transform((input, context) => {
  const value =
    typeof input === 'string' || typeof input === 'number' ? parseDecimal(input) : undefined;
  if (value !== undefined) return formatDecimal(value);
  context.addIssue({ code: 'custom', message: 'must be a decimal number, such as 0.1' });
  return z.NEVER;
});

const text = (most: number) =>
  z
    .string('must be a text')
    .trim()
    .max(most, `must have at most ${most} characters`)
    // Names are printed in logs and on terminals.
    .regex(/^\P{C}*$/u, 'must not contain control characters');

const channel = z
  .strictObject({
    name: text(64).min(1, 'must not be empty'),
    unit: text(64).default(''),
    min: decimal,
    max: decimal,
    resolution: decimal,
    noiseFloor: decimal,
    loinc: text(16)
      .regex(/^(\d{1,8}-\d)?$/, 'must be a LOINC code, such as 8867-4, or empty')
      .default(''),
  })
  .superRefine((fields, context) => {
    const refuse = (field: keyof Channel, message: string) => {
      context.addIssue({ code: 'custom', path: [field], message: `of ${fields.name} ${message}` });
    };
    const zero = { units: 0n, scale: 0 };
    const [min, max] = [parseDecimal(fields.min) ?? zero, parseDecimal(fields.max) ?? zero];
    if (compareDecimals(min, max) >= 0) {
      refuse('max', 'must be greater than min');
      return;
    }
    const scale = Math.max(min.scale, max.scale);
    const range = { units: unitsAt(max, scale) - unitsAt(min, scale), scale };

    for (const field of ['resolution', 'noiseFloor'] as const) {
      const value = parseDecimal(fields[field]) ?? zero;
      if (compareDecimals(value, zero) <= 0) {
        const why = ': a constant channel would make the covariance singular';
        refuse(field, `must be greater than 0${field === 'noiseFloor' ? why : ''}`);
        return;
      }
      if (compareDecimals(value, range) > 0) {
        refuse(field, 'must be at most max - min');
        return;
      }
    }
    if (scaleOf(fields).b > MAX_CHANNEL_BITS) {
      refuse(
        'resolution',
        `must be coarser: (max - min) / resolution has to stay below 2^${MAX_CHANNEL_BITS}`,
      );
    }
  });

const schema = z
  .strictObject({
    channels: z
      .array(channel, 'must be a list of channels')
      .min(1, 'must name at least one channel')
      .max(MAX_CHANNELS, `must name at most ${MAX_CHANNELS} channels`),
  })
  .superRefine(({ channels }, context) => {
    channels.forEach(({ name }, index) => {
      if (channels.findIndex((other) => other.name === name) === index) return;
      context.addIssue({
        code: 'custom',
        path: ['channels', index, 'name'],
        message: `must be unique: there is another channel ${name}`,
      });
    });
  });

/**
 * Read a schema, `{channels: [{name, unit, min, max, resolution, noiseFloor, loinc}]}`, from
 * untrusted data: a parsed file, a message. Numbers may be decimal strings or numbers and come out
 * as canonical decimal strings; names come out trimmed; `unit` and `loinc` may be left out.
 * @param where what is being read, for the message: a file's name, "the enrolment"
 * @throws DuoveilError SCHEMA_INVALID that names the first wrong field and what would be right
 */
export function parseSchema(value: unknown, where: string): Schema {
  return parseWith(schema, value, where);
}

/** The four vital signs of bedside monitors; noise floors are the devices' stated accuracy. */
export const DEFAULT_CHANNELS: readonly Channel[] = parseSchema(
  {
    channels: [
      { name: 'HR', unit: 'beats/min', min: 20, max: 300, loinc: '8867-4' },
      { name: 'PULSE', unit: 'beats/min', min: 20, max: 300, loinc: '8889-8' },
      { name: 'RESP', unit: 'breaths/min', min: 0, max: 120, loinc: '9279-1' },
      { name: 'SpO2', unit: '%', min: 30, max: 100, loinc: '59408-5' },
    ].map((fields) => ({ ...fields, resolution: '0.1', noiseFloor: '2' })),
  },
  'the default channels',
).channels;

/**
 * The schema of some channels, by name and in the order of the names.
 * @param names channel names; surrounding spaces are ignored
 * @param available what there is to choose from
 * @throws DuoveilError SCHEMA_INVALID for no name, too many, a repeated or an unknown one
 */
export function selectChannels(
  names: readonly string[],
  available: readonly Channel[] = DEFAULT_CHANNELS,
): Schema {
  const refuse = (message: string) =>
    duoveilError('SCHEMA_INVALID', `channels: ${message}`, { field: 'channels' });
  const wanted = names.map((name) => name.trim());

  if (wanted.length < 1 || wanted.length > MAX_CHANNELS) {
    throw refuse(`name 1 to ${MAX_CHANNELS} of them, not ${wanted.length}`);
  }
  const channels = wanted.map((name, index) => {
    if (wanted.indexOf(name) !== index) throw refuse(`${name} is named more than once`);
    const found = available.find((candidate) => candidate.name === name);
    if (found !== undefined) return found;
    const choice = available.map((candidate) => candidate.name).join(', ');
    throw refuse(`there is no channel ${JSON.stringify(name)}; there are ${choice}`);
  });
  return { channels };
}
