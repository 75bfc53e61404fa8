/** A search for what must not be anywhere, in every form that it could have. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** A form of a secret: bytes, or a text that counts only where it stands by itself. */
export type Form = Buffer | { readonly pattern: RegExp; readonly example: string };

/** Something that must not be found. */
export interface Secret {
  readonly name: string;
  /** Each of them gives it away. */
  readonly forms: readonly Form[];
}

/** Somewhere to look. */
export interface Place {
  readonly name: string;
  readonly content: Buffer;
}

/** A part that is long enough not to be there by chance, from three places of a whole. */
function parts(whole: Buffer, length: number): Buffer[] {
  if (whole.length <= length) return [whole];
  const middle = Math.floor((whole.length - length) / 2);
  return [0, middle, whole.length - length].map((start) => whole.subarray(start, start + length));
}

const text = (value: string): Buffer => Buffer.from(value, 'utf8');

/** A long integer: its digits, and its bytes in both orders. A part of them is enough. */
export function longInteger(name: string, value: bigint): Secret {
  const hex = value.toString(16).padStart(2 * Math.ceil(value.toString(16).length / 2), '0');
  const bytes = Buffer.from(hex, 'hex');
  return {
    name,
    forms: [
      ...parts(text(hex), 24),
      ...parts(text(hex.toUpperCase()), 24),
      ...parts(text(value.toString()), 24),
      ...parts(bytes, 12),
      ...parts(Buffer.from(bytes).reverse(), 12),
      ...[0, 1, 2].flatMap((skipped) =>
        parts(
          text(bytes.subarray(skipped).toString('base64').replaceAll('=', '').slice(0, -1)),
          16,
        ),
      ),
    ],
  };
}

/** A text, as it is and in hexadecimal or base64. */
export function plainText(name: string, value: string): Secret {
  const bytes = text(value);
  return { name, forms: [bytes, text(bytes.toString('hex')), text(bytes.toString('base64'))] };
}

/** A number as a text, with no digits beside it. */
function alone(digits: string): Form {
  const escaped = digits.replaceAll('.', '\\.');
  return {
    pattern: new RegExp(`(?<![0-9A-Za-z.])${escaped}(?![0-9A-Za-z])`),
    example: ` ${digits},`,
  };
}

/** A row's readings, as they were measured and as they were quantised. */
export function row(name: string, readings: readonly string[], values: readonly bigint[]): Secret {
  const widths = [2, 4, 8].filter((width) =>
    values.every((value) => value >> BigInt(8 * width) === 0n),
  );
  const integers = widths.flatMap((width) => {
    const bigEndian = values.map((value) =>
      Buffer.from(value.toString(16).padStart(2 * width, '0'), 'hex'),
    );
    const littleEndian = bigEndian.map((bytes) => Buffer.from(bytes).reverse());
    return [Buffer.concat(bigEndian), Buffer.concat(littleEndian)];
  });
  const doubles = readings.flatMap((reading) => double(Number(reading)));
  return {
    name,
    forms: [
      ...readings.map(alone),
      ...values.map((value) => alone(value.toString())),
      ...values.map((value) => alone(value.toString(16))),
      ...values.map((value) => alone(`0x${value.toString(16)}`)),
      ...integers,
      ...doubles,
    ],
  };
}

/** A number as a double, in both orders. */
function double(value: number): Buffer[] {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return [bytes, Buffer.from(bytes).reverse()];
}

/** A squared distance, as it would be printed or stored. */
export function distance(name: string, md2: number): Secret {
  return { name, forms: [text(String(md2)), ...double(md2)] };
}

/** All files below a directory, but those that a pattern excludes. */
export function filesBelow(directory: string, excluded: RegExp): Place[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile() && !excluded.test(path))
    .map((path) => ({ name: path, content: readFileSync(path) }));
}

/** Moments are no readings, but look like them. */
const MOMENT = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g;

/** Which secrets are where: `<secret> in <place>`. */
export function search(secrets: readonly Secret[], places: readonly Place[]): string[] {
  return places.flatMap(({ name: place, content }) => {
    const characters = content.toString('latin1').replace(MOMENT, '');
    return secrets
      .filter(({ forms }) =>
        forms.some((form) =>
          'pattern' in form ? form.pattern.test(characters) : content.includes(form),
        ),
      )
      .map(({ name }) => `${name} in ${place}`);
  });
}
