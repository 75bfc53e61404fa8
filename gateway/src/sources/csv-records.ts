/** From the bytes of a CSV file to its records, without a channel or a header in sight. */
import { CsvError, parse } from 'csv-parse';

/** One record: its cells without surrounding white space, and the line it ends on, from 1. */
export interface CsvRecord {
  readonly cells: readonly string[];
  readonly line: number;
}

/** Where and why bytes are not CSV. The message says so without repeating any of them. */
export class MalformedCsv extends Error {
  override readonly name = 'MalformedCsv';
}

/**
 * Longest record, in bytes: many times what a monitor writes. A quote that is never closed would
 * otherwise draw the whole rest of the file into memory.
 */
const MAX_RECORD_BYTES = 65_536;

/**
 * Parse CSV: commas, LF or CRLF, cells in double quotes where needed, an optional byte order mark.
 * Blank lines are left out. Every record before a malformed one is delivered first, and no more
 * records than one chunk holds are kept.
 * @throws MalformedCsv where quoting is malformed or a record has no end
 */
export async function* csvRecords(chunks: AsyncIterable<Buffer>): AsyncGenerator<CsvRecord, void> {
  const parsed: CsvRecord[] = [];
  let line = 0;
  const parser = parse({
    bom: true,
    max_record_size: MAX_RECORD_BYTES,
    relax_column_count: true,
    skip_empty_lines: true,
    trim: true,
    // Taken here rather than from the readable side, which an error empties of what came before.
    on_record: (cells: string[], { lines }) => {
      line = lines;
      parsed.push({ cells, line });
      return null;
    },
  });
  // Failures arrive through the callbacks below; without a listener they would also be thrown.
  parser.on('error', () => undefined).resume();
  try {
    for await (const chunk of chunks) {
      const error = await settled((done) => parser.write(chunk, done));
      yield* parsed.splice(0);
      if (error !== undefined) throw explain(error, line);
    }
    const error = await settled((done) => parser.end(done));
    yield* parsed.splice(0);
    if (error !== undefined) throw explain(error, line);
  } finally {
    parser.destroy();
  }
}

function settled(
  start: (done: (error?: Error | null) => void) => unknown,
): Promise<Error | undefined> {
  return new Promise((resolve) => {
    start((error) => {
      resolve(error ?? undefined);
    });
  });
}

/**
 * The parser's own message quotes the file, that is, readings: it is not passed on, not even as the
 * cause, which would go to a log.
 * @param last line on which the last good record ended; 0 for none
 */
function explain(error: Error, last: number): Error {
  if (!(error instanceof CsvError)) return error;
  const after = last === 0 ? 'line 1' : `after line ${last}`;
  switch (error.code) {
    case 'CSV_QUOTE_NOT_CLOSED':
      return new MalformedCsv(`${after}: a quote is opened and never closed`);
    case 'CSV_MAX_RECORD_SIZE': {
      const problem = `a row is longer than ${MAX_RECORD_BYTES} bytes; is a quote never closed?`;
      return new MalformedCsv(`${after}: ${problem}`);
    }
    default: {
      const lines = error['lines'];
      const where = typeof lines === 'number' ? `line ${lines}` : after;
      const rule = 'quotes must enclose a whole cell, and be doubled inside';
      return new MalformedCsv(`${where}: ${rule}`);
    }
  }
}
