/** Recordings as WFDB records: a header and its signal files. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import type { Channel } from '@duoveil/common/encoding';

import { fileError, inputError } from './input-error.js';
import type { Source, SourceRow } from './source.js';
import { isSameUnit } from './units.js';
import { parseWfdbHeader } from './wfdb-header.js';
import type { WfdbHeader, WfdbSignal } from './wfdb-header.js';
import { NO_SAMPLE, wfdbFrames } from './wfdb-samples.js';

/** What to read of a record. */
export interface WfdbOptions {
  /** The header: `record.hea`. The signal files are beside it. */
  readonly path: string;
  /** Channels to read; a signal's description is its name. */
  readonly channels: readonly Pick<Channel, 'name' | 'unit'>[];
  /**
   * Is a 0 a reading? By default it is none: numerics records write it where a monitor has no signal.
   */
  readonly keepZeros?: boolean;
}

/** Longest header, in bytes. */
const MAX_HEADER_BYTES = 262_144;

/**
 * A WFDB record as a source: one row a frame, physical values, `seconds` by the sampling frequency and
 * `measuredAt` by base time and date, which are read as UTC.
 *
 * Iterating throws INPUT_INVALID where a file is missing or unreadable; where the header is not one
 * (see {@link parseWfdbHeader}); where a wanted signal is missing, there twice or in another unit than
 * the channel's; where a file ends early; and after the last row where a wanted signal's checksum is
 * not the header's.
 */
export function wfdbSource(options: WfdbOptions): Source {
  return { name: options.path, [Symbol.asyncIterator]: () => readRows(options) };
}

async function* readRows(options: WfdbOptions): AsyncGenerator<SourceRow, void> {
  const { path, channels, keepZeros = false } = options;
  const header = await readHeader(path);
  const wanted = channels.map((channel) => findSignal(header, channel, path));
  const readers = filesOf(header).map((signals) => new SignalFile(path, signals));
  const total = header.samples ?? Infinity;
  let index = 0;
  try {
    for (; index < total; index += 1) {
      const frames = await Promise.all(readers.map((reader) => reader.next()));
      if (frames.some((frame) => !frame)) break;
      const cells = Object.fromEntries(
        wanted.map((signal, i) => [channels[i]?.name ?? '', physical(signal, readers, keepZeros)]),
      );
      yield { index, cells, ...timeOf(header, index) };
    }
  } catch (error) {
    throw fileError(error, path);
  } finally {
    for (const reader of readers) await reader.close();
  }
  requireWhole(header, index, path);
  for (const signal of wanted) requireChecksum(signal, readers, path);
}

async function readHeader(path: string): Promise<WfdbHeader> {
  try {
    const { size } = await stat(path);
    if (size > MAX_HEADER_BYTES) throw inputError(path, 'is too long for a WFDB header');
    return parseWfdbHeader(await readFile(path, 'latin1'), path);
  } catch (error) {
    throw fileError(error, path);
  }
}

function findSignal(
  { signals }: WfdbHeader,
  { name, unit }: Pick<Channel, 'name' | 'unit'>,
  path: string,
): WfdbSignal {
  const [found, another] = signals.filter((signal) => signal.name === name.trim());
  if (found === undefined) {
    const names = signals.map((signal) => JSON.stringify(signal.name.slice(0, 40))).slice(0, 20);
    throw inputError(path, `has no signal ${JSON.stringify(name)}; there are ${names.join(', ')}`);
  }
  if (another !== undefined) {
    throw inputError(path, `has more than one signal ${JSON.stringify(name)}; names must differ`);
  }
  if (!isSameUnit(unit, found.unit)) {
    const stated = JSON.stringify(found.unit.slice(0, 40));
    throw inputError(path, `signal ${JSON.stringify(name)} is in ${stated}, not in ${unit}`);
  }
  return found;
}

/** The signals by file, in the header's order. */
function filesOf({ signals }: WfdbHeader): (readonly WfdbSignal[])[] {
  const names = new Set(signals.map(({ file }) => file));
  return [...names].map((name) => signals.filter(({ file }) => file === name));
}

/** One file with its signals, read frame by frame. */
class SignalFile {
  readonly signals: readonly WfdbSignal[];
  readonly #frames: AsyncGenerator<readonly number[], void>;
  readonly #sums: number[];
  #current: readonly number[] = [];

  constructor(header: string, signals: readonly WfdbSignal[]) {
    const [{ file, format, offset }] = signals as readonly [WfdbSignal];
    const path = join(dirname(header), file);
    if (signals.some((signal) => signal.format !== format)) {
      throw inputError(header, `the signals in ${file} must all have the same format`);
    }
    this.signals = signals;
    this.#sums = signals.map(() => 0);
    this.#frames = wfdbFrames(bytesOf(path, offset), format, signals.length);
  }

  /** Goes to the next frame; false at the end. */
  async next(): Promise<boolean> {
    const { value } = await this.#frames.next();
    if (value === undefined) return false;
    this.#current = value;
    value.forEach((sample, i) => {
      this.#sums[i] = ((this.#sums[i] ?? 0) + sample) & 0xffff;
    });
    return true;
  }

  /** The sample of a signal in this frame; undefined where it is in another file. */
  sample(signal: WfdbSignal): number | undefined {
    return this.#current[this.signals.indexOf(signal)];
  }

  /** The sum of a signal's samples so far, modulo 2^16; undefined where it is in another file. */
  sum(signal: WfdbSignal): number | undefined {
    return this.#sums[this.signals.indexOf(signal)];
  }

  async close(): Promise<void> {
    await this.#frames.return();
  }
}

async function* bytesOf(path: string, start: number): AsyncGenerator<Buffer, void> {
  try {
    yield* createReadStream(path, { start }) as AsyncIterable<Buffer>;
  } catch (error) {
    throw fileError(error, path);
  }
}

function physical(
  signal: WfdbSignal,
  readers: readonly SignalFile[],
  keepZeros: boolean,
): string | undefined {
  const sample = readers.map((reader) => reader.sample(signal)).find((one) => one !== undefined);
  if (sample === undefined || sample === NO_SAMPLE[signal.format]) return undefined;
  const value = (sample - signal.baseline) / signal.gain;
  return value === 0 && !keepZeros ? undefined : String(value);
}

function timeOf(
  { frequency, begin }: WfdbHeader,
  index: number,
): Pick<SourceRow, 'seconds' | 'measuredAt'> {
  const seconds = index / frequency;
  if (begin === undefined) return { seconds };
  return { seconds, measuredAt: Math.round(begin + 1000 * seconds) };
}

function requireWhole({ samples }: WfdbHeader, rows: number, path: string): void {
  if (rows === 0) throw inputError(path, 'has no samples');
  if (samples === undefined || rows === samples) return;
  throw inputError(path, `announces ${samples} samples, but a signal file ends after ${rows}`);
}

function requireChecksum(signal: WfdbSignal, readers: readonly SignalFile[], path: string): void {
  const sum = readers.map((reader) => reader.sum(signal)).find((one) => one !== undefined);
  if (signal.checksum === undefined || sum === signal.checksum) return;
  const name = JSON.stringify(signal.name);
  throw inputError(path, `the samples of ${name} do not have the checksum that the header states`);
}
