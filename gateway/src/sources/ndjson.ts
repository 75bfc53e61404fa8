/** Rows as JSON objects, one a line: `{"time": "2026-05-04T10:44:18Z", "HR": 94, "SpO2": 97}`. */
import type { Input } from './inputs.js';
import { boundedLines } from './lines.js';
import type { Line } from './lines.js';
import type { Source, SourceRow } from './source.js';
import { MOMENT_FORM, parseMoment } from './times.js';

/** What to read. */
export interface NdjsonOptions {
  readonly input: Input;
  /** Names of channels, which are the objects' keys. Other keys are ignored. */
  readonly channels: readonly string[];
}

/** Longest line, in bytes. */
const MAX_LINE_BYTES = 65_536;

/**
 * NDJSON as a source. A reading is a number, or a text with one; `null` and a missing key are no
 * reading. The key `time`, if there is one, is when the row was measured (see {@link parseMoment}).
 * A line that is no such object is a row with a problem: a device's bad line ends nothing.
 */
export function ndjsonSource({ input, channels }: NdjsonOptions): Source {
  return {
    name: input.name,
    async *[Symbol.asyncIterator](): AsyncGenerator<SourceRow, void> {
      let index = 0;
      for await (const line of boundedLines(input.chunks(), MAX_LINE_BYTES)) {
        yield { index, ...readLine(line, channels) };
        index += 1;
      }
    },
  };
}

type Content = Omit<SourceRow, 'index'>;

function readLine({ text, number }: Line, channels: readonly string[]): Content {
  if (text === undefined) return bad(number, `is longer than ${MAX_LINE_BYTES} bytes`);
  const object = parseObject(text);
  if (object === undefined) return bad(number, 'is not a JSON object');
  const cells = Object.fromEntries(channels.map((name) => [name, cellOf(object, name)]));
  if (!Object.hasOwn(object, 'time') || object['time'] === null) return { cells };
  const measuredAt = parseMoment(object['time']);
  if (measuredAt === undefined) return bad(number, `"time" ${MOMENT_FORM}`);
  return { cells, measuredAt, seconds: measuredAt / 1000 };
}

function bad(line: number, what: string): Content {
  return { cells: {}, problem: `line ${line} ${what}` };
}

/** The object that a text holds; undefined where it holds none. */
export function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What is no number or text is left to quantisation as what it is: not a number. */
function cellOf(object: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = Object.hasOwn(object, name) ? object[name] : undefined;
  return readingText(value);
}

/** A JSON value as a cell: nothing for none, and for what is no number a text that is none. */
export function readingText(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'number' || typeof value === 'string' ? String(value) : 'not a number';
}
