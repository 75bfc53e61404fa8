/**
 * Headers of WFDB records: what is in which file, and what its numbers mean. Format: WFDB Applications
 * Guide, header(5), signal(5).
 */
import { inputError } from './input-error.js';

/** How samples are stored: 16 as two bytes, low byte first; 212 as pairs of 12 bits in three. */
export type WfdbFormat = 16 | 212;

/** One signal of a record. */
export interface WfdbSignal {
  /** The file with its samples, beside the header. */
  readonly file: string;
  readonly format: WfdbFormat;
  /** Bytes before the first sample. */
  readonly offset: number;
  /** Digital units in a physical one; not 0. */
  readonly gain: number;
  /** The sample value of physical 0. */
  readonly baseline: number;
  /** The physical unit, as it is written there. */
  readonly unit: string;
  /** Sum of all sample values, modulo 2^16; undefined where the header does not say. */
  readonly checksum: number | undefined;
  /** What is measured: `HR`; empty where the header does not say. */
  readonly name: string;
}

/** A header. */
export interface WfdbHeader {
  /** Samples a second and signal. */
  readonly frequency: number;
  /** Samples a signal; undefined where the header does not say. */
  readonly samples: number | undefined;
  /** When the first sample was taken, in milliseconds since 1970, date and time read as UTC. */
  readonly begin: number | undefined;
  /** At least one. */
  readonly signals: readonly WfdbSignal[];
}

/** Most signals in a record: far more than monitors write. */
const MAX_SIGNALS = 256;

/**
 * Reads a header.
 * @param source the header's file name, for messages
 * @throws DuoveilError INPUT_INVALID, with the line and what would be right; also for what is not read
 *   here: several segments, several samples a frame, other formats than 16 and 212
 */
export function parseWfdbHeader(text: string, source: string): WfdbHeader {
  const lines = text
    .split(/\r?\n/)
    .map((content, i) => ({ content: content.trim(), number: i + 1 }))
    .filter(({ content }) => content !== '' && !content.startsWith('#'));
  const [record, ...rest] = lines;
  if (record === undefined) throw inputError(source, 'is empty; it must be a WFDB header');
  const { count, ...about } = parseRecordLine(record.content, refusal(source, record.number));
  if (rest.length < count) {
    throw inputError(source, `announces ${count} signals but describes ${rest.length}`);
  }
  const signals = rest
    .slice(0, count)
    .map(({ content, number }) => parseSignalLine(content, refusal(source, number)));
  return { ...about, signals };
}

type Refuse = (problem: string) => Error;

function refusal(source: string, line: number): Refuse {
  return (problem) => inputError(source, `line ${line}: ${problem}`);
}

function parseRecordLine(line: string, refuse: Refuse) {
  const [name = '', count = '', frequency = '250', samples, time, date] = line.split(/\s+/);
  if (name.includes('/')) throw refuse('the record has several segments; name one of them');
  const signals = wholeNumber(count);
  if (signals === undefined || signals < 1 || signals > MAX_SIGNALS) {
    throw refuse(`must begin with a name and a number of signals from 1 to ${MAX_SIGNALS}`);
  }
  // The frequency may be followed by a counter's: 125/360(0).
  const hertz = Number(frequency.split('/')[0]);
  if (!(hertz > 0 && Number.isFinite(hertz))) {
    throw refuse('the sampling frequency must be greater than 0');
  }
  const length = samples === undefined ? 0 : wholeNumber(samples);
  if (length === undefined) throw refuse('the number of samples must be a whole number');
  return {
    count: signals,
    frequency: hertz,
    samples: length === 0 ? undefined : length,
    begin: time === undefined || date === undefined ? undefined : beginning(time, date, refuse),
  };
}

/** `[[hours:]minutes:]seconds` and `day/month/year`. */
function beginning(time: string, date: string, refuse: Refuse): number {
  const clock = /^(?:(?:(\d{1,2}):)?(\d{1,2}):)?(\d{1,2}(?:\.\d+)?)$/.exec(time);
  const day = /^(\d{1,2})\/(\d{1,2})\/(\d{4})$/.exec(date);
  if (clock === null || day === null) {
    throw refuse('base time and date must be as 10:44:18.529 04/05/2012');
  }
  const [hours, minutes, seconds] = clock
    .slice(1)
    .map((part: string | undefined) => Number(part ?? 0));
  const [d = 0, m = 0, y = 0] = day.slice(1).map(Number);
  const midnight = new Date(Date.UTC(y, m - 1, d));
  if (midnight.getUTCDate() !== d || midnight.getUTCMonth() !== m - 1) {
    throw refuse('the base date is no day of the calendar');
  }
  return midnight.getTime() + 1000 * (3600 * (hours ?? 0) + 60 * (minutes ?? 0) + (seconds ?? 0));
}

function parseSignalLine(line: string, refuse: Refuse): WfdbSignal {
  const [file = '', format = '', gain = '', ...more] = line.split(/\s+/);
  const [, zero, , checksum] = more;
  // The file is looked for beside the header, nowhere else.
  if (!/^[\w.-]+$/.test(file) || /^[.~-]/.test(file)) {
    throw refuse('a signal must begin with the name of a file beside the header');
  }
  return {
    file,
    ...parseFormat(format, refuse),
    ...parseGain(gain, zero, refuse),
    checksum: checksum === undefined ? undefined : integer(checksum, 'checksum', refuse) & 0xffff,
    name: line.split(/\s+/).slice(8).join(' '),
  };
}

function parseFormat(text: string, refuse: Refuse): Pick<WfdbSignal, 'format' | 'offset'> {
  const [, code, perFrame = '1', skew = '0', offset = '0'] =
    /^(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?$/.exec(text) ?? [];
  if (code !== '16' && code !== '212') throw refuse('the format must be 16 or 212');
  if (perFrame !== '1') throw refuse('several samples a frame are not read');
  if (skew !== '0') throw refuse('a signal with a skew is not read');
  return { format: code === '16' ? 16 : 212, offset: Number(offset) };
}

/** `gain(baseline)/unit`. Without a baseline it is the ADC's zero; without a gain it is 200, in mV. */
function parseGain(
  text: string,
  zero: string | undefined,
  refuse: Refuse,
): Pick<WfdbSignal, 'gain' | 'baseline' | 'unit'> {
  const [, number = '0', baseline, unit = 'mV'] =
    /^([-+\d.eE]+)(?:\((-?\d+)\))?(?:\/(\S+))?$/.exec(text === '' ? '0' : text) ?? [];
  const gain = Number(number);
  if (!Number.isFinite(gain)) throw refuse('the gain must be as 10(0)/bpm');
  return {
    gain: gain === 0 ? 200 : gain,
    baseline: integer(baseline ?? zero ?? '0', 'ADC zero', refuse),
    unit,
  };
}

function integer(text: string, what: string, refuse: Refuse): number {
  if (/^[-+]?\d{1,9}$/.test(text)) return Number(text);
  throw refuse(`the ${what} must be a whole number`);
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
