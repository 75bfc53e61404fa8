/** Recordings in CSV files: one header line, one data row a sample, a column for each channel. */
import { createReadStream } from 'node:fs';
import { findColumns } from './columns.js';
import type { Columns } from './columns.js';
import { csvRecords, MalformedCsv } from './csv-records.js';
import type { CsvRecord } from './csv-records.js';
import { fileError, inputError } from './input-error.js';
import type { Source, SourceRow } from './source.js';

/** What to read of a CSV file. */
export interface CsvOptions {
  /** The file: comma-separated, UTF-8, with or without a byte order mark, LF or CRLF. */
  readonly path: string;
  /** Columns to read, by their names in the header; surrounding spaces are ignored. */
  readonly channels: readonly string[];
  /** Stop after this many data rows; 1 or more. Default: all. */
  readonly limit?: number | undefined;
}

/**
 * A CSV file as a source. Nothing is opened before the first step of an iteration. Cells may be
 * quoted; white space around them, and blank lines, are ignored; a row with too few cells lacks the
 * last channels. A column `Time [s]` or `Time`, if there is one, gives the rows' time.
 *
 * Iterating throws INPUT_INVALID, naming the file and what would be right, where it is missing, a
 * directory or unreadable; is empty or has no data row; lacks a wanted column or has it twice; has
 * a row with more cells than the header; or where quoting is malformed, with the line.
 */
export function csvSource(options: CsvOptions): Source {
  return {
    name: options.path,
    [Symbol.asyncIterator]: () => readRows(options),
  };
}

async function* readRows({ path, channels, limit }: CsvOptions): AsyncGenerator<SourceRow, void> {
  const file: AsyncIterable<Buffer> = createReadStream(path);
  let columns: Columns | undefined;
  let index = 0;
  try {
    for await (const record of csvRecords(file)) {
      if (columns === undefined) {
        columns = findColumns(record.cells, channels, path);
        continue;
      }
      requireNoSurplus(record, columns, path);
      yield toRow(record, columns, index);
      index += 1;
      if (index === limit) return;
    }
  } catch (error) {
    throw explain(error, path);
  }
  if (columns === undefined) throw inputError(path, 'is empty; it needs a header and data rows');
  if (index === 0) throw inputError(path, 'has a header but no data rows');
}

/** A decimal comma or a stray one shifts every cell behind it into the wrong channel. */
function requireNoSurplus({ cells, line }: CsvRecord, { count }: Columns, path: string): void {
  const used = cells.findLastIndex((cell) => cell !== '') + 1;
  if (used <= count) return;
  throw inputError(path, `line ${line}: has ${used} cells, but the header has ${count}`);
}

function toRow(record: CsvRecord, { positions, time }: Columns, index: number): SourceRow {
  const cells = Object.fromEntries(
    [...positions].map(([channel, position]) => [channel, record.cells[position]]),
  );
  const text = time === undefined ? '' : (record.cells[time] ?? '');
  const seconds = Number(text);
  return text !== '' && Number.isFinite(seconds) ? { index, cells, seconds } : { index, cells };
}

/** Say what is wrong with the file; what is not about the file stays what it is. */
function explain(error: unknown, path: string): unknown {
  return error instanceof MalformedCsv
    ? inputError(path, error.message, error)
    : fileError(error, path);
}
