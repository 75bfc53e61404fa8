/**
 * An append-only log of what somebody may one day have to answer for: refusals, and every call that
 * lets a service provider learn a distance. Each line is chained to the one before by its hash, so
 * that nothing can be changed or left out in the middle unnoticed. Patients appear by pseudonym only.
 */
import { createHash } from 'node:crypto';
import { open, readFile, type FileHandle } from 'node:fs/promises';

import { duoveilError } from '@duoveil/common/errors';
import type { Clock } from '@duoveil/common/runtime';
import { systemErrorCode } from '@duoveil/common/runtime';
import { z } from 'zod';

/** Something to be remembered. Values are short texts: never a ciphertext, a key or a plaintext. */
export interface AuditEvent {
  readonly event: 'refused' | 'distance';
  readonly method: string;
  readonly patient: string;
  /** The error's code, for a refusal. */
  readonly code?: string;
}

const line = z.strictObject({
  sequence: z.int().min(1),
  time: z.string(),
  event: z.string(),
  method: z.string(),
  patient: z.string(),
  code: z.string().optional(),
  previous: z.string(),
  hash: z.string(),
});

type AuditLine = z.output<typeof line>;

/** The `previous` of the first line. */
const BEGINNING = '0'.repeat(64);

/** Where a chain ends. */
export interface ChainEnd {
  readonly sequence: number;
  readonly hash: string;
}

/** Writes the log; one writer at a time. */
export class AuditLog {
  readonly #file: FileHandle;
  readonly #clock: Clock;
  #end: ChainEnd;
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: FileHandle, end: ChainEnd, clock: Clock) {
    this.#file = file;
    this.#end = end;
    this.#clock = clock;
  }

  /**
   * Open a log, or begin one.
   * @throws DuoveilError `STORAGE_FAILED` where the chain is broken: it must not be covered up
   */
  static async open(path: string, clock: Clock): Promise<AuditLog> {
    const end = await verifyAuditLog(path);
    return new AuditLog(await open(path, 'a', 0o600), end, clock);
  }

  /** Append an event. When this resolves it is written; events keep their order. */
  append(event: AuditEvent): Promise<void> {
    const entry = {
      sequence: this.#end.sequence + 1,
      time: this.#clock.now().toISOString(),
      ...event,
      previous: this.#end.hash,
    };
    const hash = hashOf(entry);
    this.#end = { sequence: entry.sequence, hash };
    this.#writing = this.#writing.then(() =>
      this.#file.appendFile(`${JSON.stringify({ ...entry, hash })}\n`),
    );
    return this.#writing;
  }

  /** Write what is on its way, flush it to disk, and close. */
  async close(): Promise<void> {
    await this.#writing;
    await this.#file.sync();
    await this.#file.close();
  }
}

/**
 * Check a log from its first line to its last; a log that is not there is an empty one.
 * @throws DuoveilError `STORAGE_FAILED`, naming the first line that does not follow
 */
export async function verifyAuditLog(path: string): Promise<ChainEnd> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return '';
    throw error;
  });
  let end: ChainEnd = { sequence: 0, hash: BEGINNING };
  const lines = text.split('\n');
  // Every line ends in a line break: one that does not was torn, and the next would be joined to it.
  const rest = lines.pop() ?? '';
  if (rest !== '') throw broken(`${path}, line ${String(lines.length + 1)}`, 'is not complete');
  for (const [index, content] of lines.entries()) {
    end = follow(end, content, `${path}, line ${String(index + 1)}`);
  }
  return end;
}

function follow(end: ChainEnd, content: string, where: string): ChainEnd {
  const entry = parseLine(content);
  if (entry === undefined) throw broken(where, 'is not an entry');
  const { hash, ...rest } = entry;
  if (rest.sequence !== end.sequence + 1 || rest.previous !== end.hash) {
    throw broken(where, 'does not follow the one before');
  }
  if (hash !== hashOf(rest)) throw broken(where, 'was changed');
  return { sequence: rest.sequence, hash };
}

function parseLine(content: string): AuditLine | undefined {
  try {
    return line.parse(JSON.parse(content));
  } catch {
    return undefined;
  }
}

function hashOf(entry: Omit<AuditLine, 'hash'>): string {
  const { sequence, time, event, method, patient, code = '', previous } = entry;
  const parts = [String(sequence), time, event, method, patient, code, previous];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

function broken(where: string, what: string): Error {
  return duoveilError('STORAGE_FAILED', `the audit log is damaged: ${where} ${what}`);
}
