/** A backup's file: lines, compressed, complete or not there at all. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { access, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';

import { duoveilError } from '@duoveil/common/errors';
import { storageError, syncDirectory, systemErrorCode } from '@duoveil/common/runtime';

import { decodeEnd, decodeHeader, decodeRow, encodeEnd, invalid } from './format.js';
import type { BackupHeader, BackupRow, Counts } from './format.js';

/** Most of it looks random: more effort would not make it smaller. */
const COMPRESSION = { level: 1 } as const;

/** A line longer than any row of ours. */
const LONGEST_LINE = 64 * 1024 * 1024;

/** Counts the rows of a backup, and takes its lines into a hash. */
class Totals {
  readonly rows: Record<string, number> = {};
  readonly #hash: Hash = createHash('sha256');

  line(line: string): string {
    const bytes = `${line}\n`;
    this.#hash.update(bytes);
    return bytes;
  }

  row(table: string): void {
    this.rows[table] = (this.rows[table] ?? 0) + 1;
  }

  sha256(): string {
    return this.#hash.digest('hex');
  }
}

/** A line of a row, and its table. */
export interface RowLine {
  readonly table: string;
  readonly line: string;
}

/**
 * Write a backup: beside its place first, flushed to disk, and then under its name.
 * @throws DuoveilError `OPTION_INVALID` where there is such a file already; `STORAGE_FULL`,
 * `STORAGE_FAILED`; what reading the rows throws
 */
export async function writeBackup(
  file: string,
  header: string,
  rows: AsyncIterable<RowLine>,
): Promise<Counts> {
  await requireNew(file);
  const temporary = `${file}.part`;
  const totals = new Totals();
  async function* lines(): AsyncGenerator<string, void> {
    yield totals.line(header);
    for await (const { table, line } of rows) {
      totals.row(table);
      yield totals.line(line);
    }
    yield `${encodeEnd({ rows: totals.rows, sha256: totals.sha256() })}\n`;
  }
  try {
    // Pseudonyms and policies are in it: it is for its owner only.
    const target = createWriteStream(temporary, { flags: 'w', mode: 0o600, flush: true });
    await pipeline(lines, createGzip(COMPRESSION), target);
    await rename(temporary, file);
    await syncDirectory(dirname(file));
  } catch (error) {
    await rm(temporary, { force: true });
    throw isOfFile(error) ? storageError(error, `cannot write ${file}`) : error;
  }
  return totals.rows;
}

async function requireNew(file: string): Promise<void> {
  const there = await access(file).then(
    () => true,
    () => false,
  );
  if (!there) return;
  throw duoveilError('OPTION_INVALID', `--out: ${file} is there already: name a new file`, {
    option: '--out',
  });
}

/** An error of the file system, and not of the database that is read. */
function isOfFile(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'path' in error
    ? true
    : ['ENOSPC', 'EDQUOT', 'EIO', 'EFBIG'].includes(systemErrorCode(error) ?? '');
}

/**
 * Read a backup: its header is given first, then each row as it comes. That the file is complete and
 * unchanged is known only when the last row has been taken and this returns.
 * @throws DuoveilError `INPUT_INVALID` where it is torn, changed or not of this version; `STORAGE_FAILED`
 */
export async function readBackup(
  file: string,
  onHeader: (header: BackupHeader) => void,
  onRow: (row: BackupRow) => Promise<void> | void,
): Promise<Counts> {
  const totals = new Totals();
  let first = true;
  let last: string | undefined;
  for await (const line of linesOf(file)) {
    if (last !== undefined) {
      totals.line(last);
      if (first) onHeader(decodeHeader(last, file));
      else {
        const row = decodeRow(last, file);
        totals.row(row.table.name);
        await onRow(row);
      }
      first = false;
    }
    last = line;
  }
  if (first || last === undefined) throw invalid(file, 'is torn');
  const end = decodeEnd(last, file);
  if (end.sha256 !== totals.sha256() || !isSame(end.rows, totals.rows)) {
    throw invalid(file, 'was changed or damaged: its checksum is not right');
  }
  return totals.rows;
}

function isSame(a: Counts, b: Counts): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

async function* linesOf(file: string): AsyncGenerator<string, void> {
  const unpacked = createGunzip();
  const source = createReadStream(file);
  source.on('error', (error) => unpacked.destroy(error));
  source.pipe(unpacked).setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of unpacked as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > LONGEST_LINE) throw invalid(file, 'has a line that is too long');
      yield* lines;
    }
  } catch (error) {
    if (isOfFile(error)) throw storageError(error, `cannot read ${file}`);
    const code = systemErrorCode(error) ?? '';
    throw code.startsWith('Z_') ? invalid(file, 'is torn, damaged, or no backup', error) : error;
  } finally {
    source.destroy();
    unpacked.destroy();
  }
  if (rest !== '') throw invalid(file, 'is torn');
}
