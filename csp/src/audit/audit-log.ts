/**
 * An append-only log of what somebody may one day have to answer for: refusals, and every call that
 * lets a service provider learn a distance. Each line is chained to the one before by its hash, so
 * that nothing can be changed or left out in the middle unnoticed. Patients appear by pseudonym only.
 *
 * A line is on disk before the call that it tells of is answered. A crash may tear the last line: it
 * was never answered for. It is set aside when the log is opened again, and an entry says so.
 */
import { createHash } from 'node:crypto';
import { open, readFile, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import { storageError, syncDirectory, systemErrorCode, type Clock } from '@duoveil/common/runtime';
import { z } from 'zod';

import { Grouped } from './grouped.js';

/** Something to be remembered. Values are short texts: never a ciphertext, a key or a plaintext. */
export interface AuditEvent {
  /** `custody`: what custodians did with the keys. */
  readonly event: 'refused' | 'distance' | 'custody';
  readonly method: string;
  /** Whose sample; not for custody. */
  readonly patient?: string;
  /** The error's code, for a refusal. */
  readonly code?: string;
  /** Who did it, for custody. */
  readonly by?: string;
  /** What it was done to, for custody. */
  readonly detail?: string;
}

const text = z.string().min(1);

const line = z.strictObject({
  sequence: z.int().min(1),
  time: text,
  event: text,
  method: text.optional(),
  patient: text.optional(),
  code: text.optional(),
  by: text.optional(),
  detail: text.optional(),
  /** SHA-256 of a torn line that was set aside; of a `recovered` event. */
  torn: text.optional(),
  previous: text,
  hash: text,
});

type AuditLine = z.output<typeof line>;

/** An entry that has no place in the chain yet. */
type Unchained = Omit<AuditLine, 'sequence' | 'previous' | 'hash'>;

/** The `previous` of the first line. */
const BEGINNING = '0'.repeat(64);

const LINE_BREAK = 0x0a;

/** Where a chain ends. */
export interface ChainEnd {
  readonly sequence: number;
  readonly hash: string;
}

/** What a log was found to be. */
export interface VerifiedLog extends ChainEnd {
  /** How often a torn line was set aside. */
  readonly recovered: number;
  /** Bytes of a last line that is not complete; 0 where the last one is. */
  readonly tornBytes: number;
}

/** Writes the log; one writer at a time. */
export class AuditLog {
  readonly #file: FileHandle;
  readonly #clock: Clock;
  readonly #writing = new Grouped(() => this.#write());
  #waiting: Unchained[] = [];
  /** Where the chain and the file end as far as they are known to be on disk. */
  #end: ChainEnd;
  #size: number;
  /** Did an attempt fail, so that the file may be longer than that? */
  #uncertain = false;

  private constructor(file: FileHandle, end: ChainEnd, size: number, clock: Clock) {
    this.#file = file;
    this.#end = end;
    this.#size = size;
    this.#clock = clock;
  }

  /**
   * Open a log, or begin one. A torn last line is moved to the file beside it whose name ends in
   * `.torn`, and an entry takes its place.
   * @throws DuoveilError `STORAGE_FAILED` where the chain is broken: it must not be covered up
   */
  static async open(path: string, clock: Clock): Promise<AuditLog> {
    const found = await readChain(path);
    const { end, size } = found.torn.length > 0 ? await setAside(path, found, clock) : found;
    const file = await open(path, 'a', 0o600);
    await syncDirectory(dirname(path));
    return new AuditLog(file, end, size, clock);
  }

  /** Where the chain ends now. */
  get end(): ChainEnd {
    return this.#end;
  }

  /**
   * Append an event. When this resolves it is on disk; events keep their order.
   * @throws DuoveilError `STORAGE_FULL`, `STORAGE_FAILED`: the event is not in the log
   */
  append(event: AuditEvent): Promise<void> {
    this.#waiting.push({ time: this.#clock.now().toISOString(), ...event });
    return this.#writing.run();
  }

  /** Write what is on its way, and close. */
  async close(): Promise<void> {
    try {
      await this.#writing.run();
    } finally {
      await this.#file.close();
    }
  }

  async #write(): Promise<void> {
    const entries = this.#waiting;
    this.#waiting = [];
    if (entries.length === 0) return;
    let end = this.#end;
    let lines = '';
    for (const entry of entries) {
      const chained = chain(end, entry);
      end = chained.end;
      lines += chained.line;
    }
    try {
      if (this.#uncertain) await this.#file.truncate(this.#size);
      this.#uncertain = true;
      await this.#file.appendFile(lines);
      await this.#file.datasync();
      this.#uncertain = false;
    } catch (error) {
      throw storageError(error, 'cannot write the audit log');
    }
    this.#end = end;
    this.#size += Buffer.byteLength(lines);
  }
}

/**
 * Check a log from its first line to its last; a log that is not there is an empty one. That the last
 * line is not complete is no damage: it is being written, or a crash has torn it.
 * @throws DuoveilError `STORAGE_FAILED`, naming the first line that does not follow
 */
export async function verifyAuditLog(path: string): Promise<VerifiedLog> {
  const { end, recovered, torn } = await readChain(path);
  return { ...end, recovered, tornBytes: torn.length };
}

/** What a person is told of a log, in lines. */
export function describeAuditLog(
  path: string,
  { sequence, hash, recovered, tornBytes }: VerifiedLog,
): string {
  const lines = [`${path}: ${String(sequence)} entries, unbroken`, hash];
  if (recovered > 0) {
    lines.push(`a torn last line was set aside ${String(recovered)} times: see ${path}.torn`);
  }
  if (tornBytes > 0) {
    lines.push(
      `after them ${String(tornBytes)} bytes of a line that is not complete: it is being written, or ` +
        'was torn by a crash and will be set aside when the CSP starts',
    );
  }
  return lines.map((written) => `${written}\n`).join('');
}

interface FoundChain {
  readonly end: ChainEnd;
  /** Bytes of all complete lines. */
  readonly size: number;
  readonly recovered: number;
  /** What comes after the last line break: every line ends in one. */
  readonly torn: Buffer;
}

async function readChain(path: string): Promise<FoundChain> {
  const bytes = await readFile(path).catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return Buffer.alloc(0);
    throw error;
  });
  const size = bytes.lastIndexOf(LINE_BREAK) + 1;
  let end: ChainEnd = { sequence: 0, hash: BEGINNING };
  let recovered = 0;
  const lines = bytes.toString('utf8', 0, size).split('\n').slice(0, -1);
  for (const [index, content] of lines.entries()) {
    const entry = follow(end, content, `${path}, line ${String(index + 1)}`);
    if (entry.event === 'recovered') recovered += 1;
    end = entry;
  }
  const { sequence, hash } = end;
  return { end: { sequence, hash }, size, recovered, torn: bytes.subarray(size) };
}

/**
 * Copy what was torn to a file of its own, then write an entry over it: whatever is interrupted here
 * leaves a torn line again, and nothing is lost.
 */
async function setAside(path: string, { end, size, torn }: FoundChain, clock: Clock) {
  const hash = createHash('sha256').update(torn).digest('hex');
  const time = clock.now().toISOString();
  const entry = chain(end, { time, event: 'recovered', torn: hash });
  try {
    await withFile(`${path}.torn`, 'a', async (file) => {
      await file.appendFile(Buffer.concat([torn, Buffer.of(LINE_BREAK)]));
      await file.sync();
    });
    await syncDirectory(dirname(path));
    const bytes = Buffer.from(entry.line);
    await withFile(path, 'r+', async (file) => {
      await file.write(bytes, 0, bytes.length, size);
      await file.truncate(size + bytes.length);
      await file.sync();
    });
    return { end: entry.end, size: size + bytes.length };
  } catch (error) {
    throw storageError(error, 'cannot set a torn line of the audit log aside');
  }
}

async function withFile(
  path: string,
  flags: string,
  work: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const file = await open(path, flags, 0o600);
  try {
    await work(file);
  } finally {
    await file.close();
  }
}

/** The next line after an end, and the end that it makes. */
function chain(end: ChainEnd, entry: Unchained): { line: string; end: ChainEnd } {
  const placed = { sequence: end.sequence + 1, ...entry, previous: end.hash };
  const hash = hashOf(placed);
  return {
    line: `${JSON.stringify({ ...placed, hash })}\n`,
    end: { sequence: placed.sequence, hash },
  };
}

function follow(end: ChainEnd, content: string, where: string): AuditLine {
  const entry = parseLine(content);
  if (entry === undefined) throw broken(where, 'is not an entry');
  if (entry.sequence !== end.sequence + 1 || entry.previous !== end.hash) {
    throw broken(where, 'does not follow the one before');
  }
  if (entry.hash !== hashOf(entry)) throw broken(where, 'was changed');
  return entry;
}

function parseLine(content: string): AuditLine | undefined {
  try {
    return line.parse(JSON.parse(content));
  } catch {
    return undefined;
  }
}

function hashOf(entry: Omit<AuditLine, 'hash'>): string {
  const { sequence, time, event, method = '', patient = '', code = '', previous, torn } = entry;
  const { by = '', detail = '' } = entry;
  const parts = [String(sequence), time, event, method, patient, code, by, detail, previous];
  if (torn !== undefined) parts.push(torn);
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

function broken(where: string, what: string): Error {
  return duoveilError('STORAGE_FAILED', `the audit log is damaged: ${where} ${what}`);
}
