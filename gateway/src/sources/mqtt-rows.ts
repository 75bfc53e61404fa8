/** From messages of a broker to rows, by a mapping. */
import { atPointer } from './json-pointer.js';
import type { MqttMapping } from './mqtt-mapping.js';
import { readingText } from './ndjson.js';
import { RowAssembler } from './row-assembler.js';
import type { AssembledRow, Reading } from './row-assembler.js';
import { MOMENT_FORM, parseMoment } from './times.js';

/** What a message makes of a row. */
export type MappedRow = AssembledRow & { readonly problem?: string };

/** A message, as far as its content goes. */
export interface MappedMessage {
  readonly topic: string;
  readonly payload: Buffer;
}

/** Longest message, in bytes. */
export const MAX_MESSAGE_BYTES = 65_536;

/**
 * Makes rows, one message after the other. A message that cannot be read is a row with a problem, which
 * says so and repeats nothing of it.
 */
export class RowMapper {
  readonly #mapping: MqttMapping;
  readonly #channels: readonly string[];
  readonly #now: () => number;
  readonly #assembler: RowAssembler;

  /**
   * @param withinMs readings of topics of their own that are at most so far apart make a row
   * @param now milliseconds since 1970: when a message without a time came in
   */
  constructor(
    mapping: MqttMapping,
    channels: readonly string[],
    withinMs: number,
    now: () => number,
  ) {
    this.#mapping = mapping;
    this.#channels = channels;
    this.#now = now;
    this.#assembler = new RowAssembler(channels, withinMs);
  }

  /** The topics that messages are needed from. */
  get topics(): string[] {
    const { message, channels = {} } = this.#mapping;
    if (message !== undefined) return [message.topic];
    return this.#channels.flatMap((name) => channels[name]?.topic ?? []);
  }

  /** Is a message part of a row that is begun, and that others may complete? */
  isPending(message: MappedMessage): boolean {
    return this.#assembler.openReadings.some(({ token }) => token === message);
  }

  /** Takes a message; gives the rows that it completes or closes, in order. */
  take(taken: MappedMessage): MappedRow[] {
    const { topic, payload } = taken;
    if (payload.length > MAX_MESSAGE_BYTES) {
      return [problem(topic, `is longer than ${MAX_MESSAGE_BYTES} bytes`)];
    }
    const { message, channels = {} } = this.#mapping;
    if (message !== undefined) return [this.#wholeRow(topic, payload, message)];
    const name = this.#channels.find((one) => channels[one]?.topic === topic);
    const own = name === undefined ? undefined : channels[name];
    if (name === undefined || own === undefined) return [];
    return this.#reading(taken, name, own);
  }

  /** Forgets a row that is begun. */
  forget(): void {
    this.#assembler.flush();
  }

  #wholeRow(
    topic: string,
    payload: Buffer,
    { time, channels }: NonNullable<MqttMapping['message']>,
  ): MappedRow {
    const value = parseJson(payload);
    if (value === undefined) return problem(topic, 'is not JSON');
    const cells = Object.fromEntries(
      this.#channels.map((name) => [name, readingText(atPointer(value, channels[name] ?? ''))]),
    );
    if (time === undefined) return { cells };
    const measuredAt = parseMoment(atPointer(value, time));
    return measuredAt === undefined ? badTime(topic, time) : { cells, measuredAt };
  }

  #reading(
    token: MappedMessage,
    channel: string,
    { value: at, time }: NonNullable<MqttMapping['channels']>[string],
  ): MappedRow[] {
    const { topic, payload } = token;
    const isJson = at !== undefined || time !== undefined;
    const content = isJson ? parseJson(payload) : payload.toString('utf8');
    if (content === undefined) return [problem(topic, 'is not JSON')];
    const moment = time === undefined ? undefined : parseMoment(atPointer(content, time));
    if (time !== undefined && moment === undefined) return [badTime(topic, time)];
    const reading: Reading = {
      channel,
      at: moment ?? this.#now(),
      measured: moment !== undefined,
      value: readingText(atPointer(content, at ?? '')),
      token,
    };
    return this.#assembler.add(reading);
  }
}

function parseJson(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString('utf8'));
  } catch {
    return undefined;
  }
}

function badTime(topic: string, time: string): MappedRow {
  return problem(topic, `${JSON.stringify(time)} ${MOMENT_FORM}`);
}

function problem(topic: string, what: string): MappedRow {
  return { cells: {}, problem: `a message of ${JSON.stringify(topic)}: ${what}` };
}
