/** Messages that nobody should send: made from the schema, and by spoiling good ones. Seeded. */
import type { Prng } from '../simulation/prng.js';
import type { Field, WireSchema } from './schema.js';
import { joinFields, splitFields, tagOf, varint, type RawField } from './wire-format.js';

/** How a message was made. */
export type Making = 'generated' | (typeof SPOILS)[number];

/** A message, and how it was made. */
export interface BadMessage {
  readonly bytes: Buffer;
  readonly made: Making;
}

/** What is done to a good message. */
const SPOILS = [
  ...['truncated', 'bits flipped', 'bytes inserted', 'bytes removed', 'wrong length'],
  ...['extreme varint', 'unknown field', 'wrong wire type', 'field repeated', 'field left out'],
  ...['fields swapped', 'field of another message', 'value replaced', 'nested', 'spoilt within'],
] as const;

/** The most bytes of a message: above the servers' limit only now and then. */
const LONG = 20_000;
const TOO_LONG = 1_200_000;

/** Makes bad messages for calls; the same seed makes the same ones. */
export class BadMessages {
  readonly #schema: WireSchema;
  readonly #everything: readonly Buffer[];
  readonly #prng: Prng;

  /** @param everything real requests of all calls, to mix */
  constructor(schema: WireSchema, everything: readonly Buffer[], prng: Prng) {
    this.#schema = schema;
    this.#everything = everything;
    this.#prng = prng;
  }

  /**
   * The next one for a call.
   * @param message the full name of what it takes
   * @param goods real requests
   */
  next(message: string, goods: readonly Buffer[]): BadMessage {
    const good = this.#one(goods);
    if (good === undefined || this.#chance(0.3)) {
      return { bytes: this.#generated(message, 0), made: 'generated' };
    }
    const made = this.#one<Making>(SPOILS) ?? 'truncated';
    let bytes = this.#spoilt(good, made);
    // Often more than one thing is wrong.
    while (this.#chance(0.2)) bytes = this.#spoilt(bytes, this.#one<Making>(SPOILS) ?? made);
    return { bytes, made };
  }

  /** A well-formed message, its values drawn from the edges of what they may be and beyond. */
  #generated(message: string, depth: number): Buffer {
    const fields = this.#schema.messages.get(message) ?? [];
    const made = fields.flatMap((field) => {
      const count = field.repeated ? this.#count() : Number(this.#chance(0.85));
      return Array.from({ length: count }, () => this.#field(field, depth));
    });
    return joinFields(made);
  }

  #count(): number {
    if (this.#chance(0.01)) return this.#integer(100, 3000);
    return this.#one([0, 1, 1, 2, 3, 5, 8, 9, 16, 33, 65]) ?? 1;
  }

  #field({ number, kind, message }: Field, depth: number): RawField {
    switch (kind) {
      case 'varint':
        return { number, wireType: 0, value: varint(this.#number()) };
      case 'fixed64':
        return { number, wireType: 1, value: this.#random(8) };
      case 'fixed32':
        return { number, wireType: 5, value: this.#random(4) };
      case 'bytes':
        return { number, wireType: 2, value: this.#blob() };
      case 'string':
        return { number, wireType: 2, value: this.#text() };
      case 'message': {
        const value = depth > 3 ? this.#blob() : this.#generated(message, depth + 1);
        return { number, wireType: 2, value };
      }
    }
  }

  #number(): bigint {
    const edges = [0n, 1n, 2n, 3n, 7n, 8n, 127n, 128n, 4096n, 65_536n, 1n << 31n, (1n << 32n) - 1n];
    const far = [1n << 32n, (1n << 53n) - 1n, 1n << 53n, 1n << 63n, (1n << 64n) - 1n];
    return this.#one([...edges, ...far]) ?? 0n;
  }

  /** Lengths of what is sent with a modulus of 512 bits, one more and one less, and others. */
  #blob(): Buffer {
    if (this.#chance(0.002)) return Buffer.alloc(TOO_LONG, 0x41);
    const lengths = [0, 1, 8, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 192, 256, 1024];
    const length = this.#chance(0.02) ? this.#integer(0, LONG) : (this.#one(lengths) ?? 0);
    const fill = this.#one([0x00, 0xff, 0x01]) ?? 0;
    return this.#chance(0.4) ? Buffer.alloc(length, fill) : this.#random(length);
  }

  #text(): Buffer {
    const texts = ['', '0', '-1', '1e999', 'NaN', '0.1', '300', '99999999999999999999', 'HR'];
    const odd = [
      '../x',
      'patient-0',
      'patient-1',
      'patient-2',
      'a\u0000b',
      '\u001b[31m',
      '\u202e',
      '💓',
      '__proto__',
      '%s%n',
    ];
    if (this.#chance(0.1)) return this.#random(this.#integer(1, 40));
    if (this.#chance(0.02)) return Buffer.alloc(this.#integer(65, LONG), 0x61);
    return Buffer.from(this.#one([...texts, ...odd]) ?? '');
  }

  #spoilt(good: Buffer, made: Making): Buffer {
    const at = this.#integer(0, Math.max(0, good.length - 1));
    const [before, after] = [good.subarray(0, at), good.subarray(at)];
    const some = this.#integer(1, 16);
    switch (made) {
      case 'generated':
        return good;
      case 'truncated':
        return before;
      case 'bits flipped':
        return this.#flipped(good);
      case 'bytes inserted':
        return Buffer.concat([before, this.#random(some), after]);
      case 'bytes removed':
        return Buffer.concat([before, after.subarray(some)]);
      case 'extreme varint':
        return Buffer.concat([before, Buffer.alloc(this.#integer(5, 11), 0xff), after]);
      default:
        return this.#spoiltFields(good, made);
    }
  }

  /** What needs the message to be one; where it is none, a bit is flipped. */
  #spoiltFields(good: Buffer, made: Making): Buffer {
    const fields = splitFields(good);
    if (fields === undefined) return this.#flipped(good);
    const index = this.#integer(0, Math.max(0, fields.length - 1));
    const field = fields[index];
    const rest = fields.filter((_, i) => i !== index);
    const instead = (one: RawField): Buffer =>
      joinFields(fields.map((f) => (f === field ? one : f)));
    if (field === undefined) return this.#random(this.#integer(0, 8));
    switch (made) {
      case 'wrong length': {
        const lie = varint(this.#one([0, 1, field.value.length + 1, 2 ** 31, 2 ** 32 - 1]) ?? 0);
        return Buffer.concat([joinFields(rest), tagOf(field.number, 2), lie, field.value]);
      }
      case 'unknown field':
        return joinFields([...fields, { ...field, number: this.#integer(8, 2 ** 29 - 1) }]);
      case 'wrong wire type':
        return instead({ ...field, wireType: this.#integer(0, 7) });
      case 'field repeated':
        return joinFields([...fields, ...this.#copies(field)]);
      case 'field left out':
        return joinFields(rest);
      case 'fields swapped': {
        const other = this.#one(fields) ?? field;
        return joinFields(
          fields.map((one) => {
            if (one === field) return { ...one, number: other.number };
            return one === other ? { ...one, number: field.number } : one;
          }),
        );
      }
      case 'field of another message': {
        const others = splitFields(this.#one(this.#everything) ?? good) ?? [];
        return instead({ ...(this.#one(others) ?? field), number: field.number });
      }
      case 'value replaced': {
        const value = field.wireType === 0 ? varint(this.#number()) : this.#blob();
        return instead({ ...field, value });
      }
      case 'nested':
        return this.#nested(good, field.number);
      case 'spoilt within': {
        const within = this.#one<Making>(SPOILS) ?? 'truncated';
        return instead({ ...field, value: this.#spoilt(field.value, within) });
      }
      default:
        return this.#flipped(good);
    }
  }

  #flipped(good: Buffer): Buffer {
    const bytes = Buffer.from(good);
    for (let i = this.#integer(1, 4); i > 0 && bytes.length > 0; i -= 1) {
      const at = this.#integer(0, bytes.length - 1);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#integer(0, 7));
    }
    return bytes;
  }

  #copies(field: RawField): RawField[] {
    const most = Math.floor(LONG / (field.value.length + 4));
    return Array.from({ length: this.#integer(1, Math.max(1, most)) }, () => field);
  }

  /** The message within a field of itself, and so on; or groups that begin and never end. */
  #nested(good: Buffer, number: number): Buffer {
    const depth = this.#integer(1, 300);
    if (this.#chance(0.5))
      return Buffer.concat(Array.from({ length: depth }, () => tagOf(number, 3)));
    let bytes = good;
    for (let i = 0; i < depth && bytes.length < LONG; i += 1) {
      bytes = joinFields([{ number, wireType: 2, value: bytes }]);
    }
    return bytes;
  }

  #random(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.#integer(0, 255)));
  }

  #integer(from: number, to: number): number {
    return this.#prng.integer(from, to);
  }

  #chance(probability: number): boolean {
    return this.#prng.uniform() < probability;
  }

  #one<T>(values: readonly T[]): T | undefined {
    return values[this.#integer(0, values.length - 1)];
  }
}
