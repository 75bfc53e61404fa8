/**
 * The wire format of protocol buffers, to take messages apart and put them together again, also
 * wrongly: https://protobuf.dev/programming-guides/encoding.
 */

/** A field as it stands in a message. */
export interface RawField {
  readonly number: number;
  /** 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes; others are no fields with a value. */
  readonly wireType: number;
  /** The value; without its length. */
  readonly value: Buffer;
}

/** A number as a varint. */
export function varint(value: bigint | number): Buffer {
  const bytes: number[] = [];
  let left = BigInt.asUintN(64, BigInt(value));
  do {
    const low = Number(left & 0x7fn);
    left >>= 7n;
    bytes.push(left > 0n ? low | 0x80 : low);
  } while (left > 0n);
  return Buffer.from(bytes);
}

/** A message of these fields. */
export function joinFields(fields: readonly RawField[]): Buffer {
  return Buffer.concat(
    fields.flatMap(({ number, wireType, value }) => [
      tagOf(number, wireType),
      ...(wireType === 2 ? [varint(value.length)] : []),
      value,
    ]),
  );
}

/** What a field begins with. */
export function tagOf(number: number, wireType: number): Buffer {
  return varint((BigInt(number) << 3n) | BigInt(wireType));
}

/** The fields of a message; undefined where the bytes are none. */
export function splitFields(bytes: Buffer): RawField[] | undefined {
  const fields: RawField[] = [];
  const reader = new Reader(bytes);
  while (!reader.atEnd) {
    const tag = reader.varint();
    if (tag === undefined || tag > 0xffff_ffffn) return undefined;
    const wireType = Number(tag & 7n);
    const value = reader.value(wireType);
    if (value === undefined) return undefined;
    fields.push({ number: Number(tag >> 3n), wireType, value });
  }
  return fields;
}

class Reader {
  readonly #bytes: Buffer;
  #position = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#position >= this.#bytes.length;
  }

  varint(): bigint | undefined {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#position];
      if (byte === undefined) return undefined;
      this.#position += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return undefined;
  }

  value(wireType: number): Buffer | undefined {
    const start = this.#position;
    if (wireType === 0) {
      return this.varint() === undefined ? undefined : this.#bytes.subarray(start, this.#position);
    }
    if (wireType === 1) return this.#take(8);
    if (wireType === 5) return this.#take(4);
    const length = wireType === 2 ? this.varint() : undefined;
    return length === undefined || length > 0x7fff_ffffn ? undefined : this.#take(Number(length));
  }

  #take(length: number): Buffer | undefined {
    const end = this.#position + length;
    if (end > this.#bytes.length) return undefined;
    const taken = this.#bytes.subarray(this.#position, end);
    this.#position = end;
    return taken;
  }
}
