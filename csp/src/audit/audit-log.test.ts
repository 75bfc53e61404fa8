import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFile,
  mkdtemp,
  open,
  readFile,
  rm,
  stat,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';

import { AUDIT_FILE } from '../config.js';
import { AuditLog, verifyAuditLog, type AuditEvent } from './audit-log.js';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

let directory: string;
let files = 0;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-audit-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

const clock = { now: () => new Date(Date.UTC(2026, 2, 3, 12)), monotonicMs: () => 0 };
const eventOf = (i: number): AuditEvent =>
  i % 3 === 0
    ? { event: 'refused', method: 'Score', patient: `bed-${String(i)}`, code: 'BUDGET_EXCEEDED' }
    : { event: 'distance', method: 'Score', patient: `bed-${String(i)}` };

const newFile = () => join(directory, `audit-${String(files++)}.log`);

/** A log of so many events, closed; its path, its lines, and where it ends. */
async function written(count: number) {
  const file = newFile();
  const log = await AuditLog.open(file, clock);
  for (let i = 0; i < count; i++) await log.append(eventOf(i));
  await log.close();
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
  return { file, lines, end: await verifyAuditLog(file) };
}

/** Another file of these lines. */
async function fileOf(lines: readonly string[]): Promise<string> {
  const file = newFile();
  await writeFile(file, lines.map((line) => `${line}\n`).join(''));
  return file;
}

const damaged = { code: 'STORAGE_FAILED' };

describe('an audit log', () => {
  it('that is not there is an empty one', async () => {
    expect(await verifyAuditLog(newFile())).toEqual({
      sequence: 0,
      hash: '0'.repeat(64),
      recovered: 0,
      tornBytes: 0,
    });
  });

  it('is a chain: as many entries as events, each with the hash of the one before', async () => {
    const { lines, end, file } = await written(7);
    const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(entries.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(entries.map(({ patient }) => patient)).toEqual(
      Array.from({ length: 7 }, (_, i) => `bed-${String(i)}`),
    );
    entries.forEach(({ previous }, i) => {
      expect(previous).toBe(i === 0 ? '0'.repeat(64) : entries[i - 1]?.['hash']);
    });
    expect(end).toMatchObject({ sequence: 7, hash: entries[6]?.['hash'] });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('shows any change of any field of any line', async () => {
    const { lines } = await written(5);
    for (const [i, line] of lines.entries()) {
      const entry = JSON.parse(line) as Record<string, unknown>;
      const changes: Record<string, unknown>[] = [
        { ...entry, sequence: 99 },
        { ...entry, time: '2026-03-03T12:00:01.000Z' },
        { ...entry, event: entry['event'] === 'refused' ? 'distance' : 'refused' },
        { ...entry, method: 'Scor' },
        { ...entry, patient: 'bed-99' },
        { ...entry, code: 'OUTPUT_NOT_ALLOWED' },
        { ...entry, previous: 'f'.repeat(64) },
        { ...entry, hash: 'f'.repeat(64) },
        { ...entry, torn: 'f'.repeat(64) },
        { ...entry, more: '1' },
      ];
      for (const changed of changes) {
        const copy = lines.map((text, k) => (k === i ? JSON.stringify(changed) : text));
        await expect(verifyAuditLog(await fileOf(copy))).rejects.toMatchObject(damaged);
      }
      const { code, patient, ...rest } = entry;
      for (const less of [
        { ...rest, patient, code: undefined },
        { ...rest, code },
      ]) {
        if (less.code === undefined && code === undefined && 'patient' in less) continue;
        const copy = lines.map((text, k) => (k === i ? JSON.stringify(less) : text));
        await expect(verifyAuditLog(await fileOf(copy))).rejects.toMatchObject(damaged);
      }
    }
  });

  it('shows text moved from one field into the next', async () => {
    const file = newFile();
    const log = await AuditLog.open(file, clock);
    await log.append({ event: 'refused', method: 'Score', patient: 'bed-12', code: 'X' });
    await log.close();
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('"bed-12","code":"X"', '"bed-1","code":"2X"'));
    await expect(verifyAuditLog(file)).rejects.toMatchObject(damaged);
  });

  it('shows lines that were removed, exchanged, repeated or put in, and says where', async () => {
    const { lines } = await written(6);
    const other = (await written(8)).lines;
    for (let i = 0; i < lines.length; i++) {
      const [before, line = '', after] = [lines.slice(0, i), lines[i], lines.slice(i + 1)];
      const copies = [
        [...before, line, line, ...after],
        [...before, 'not an entry', line, ...after],
        [...before, '', line, ...after],
        [...before, '{}', line, ...after],
        [...before, other[7] ?? '', line, ...after],
        ...(after.length > 0
          ? [
              [...before, ...after],
              [...before, after[0] ?? '', line, ...after.slice(1)],
            ]
          : []),
      ];
      for (const copy of copies) {
        const where = new RegExp(`line ${String(i + 1)} |line ${String(i + 2)} `);
        await expect(verifyAuditLog(await fileOf(copy))).rejects.toMatchObject({
          ...damaged,
          message: expect.stringMatching(where) as string,
        });
      }
    }
  });

  it('cut off at its end is shorter and ends in another hash', async () => {
    const { lines, end } = await written(6);
    const ends = [];
    for (let length = 0; length < 6; length++) {
      const found = await verifyAuditLog(await fileOf(lines.slice(0, length)));
      expect(found.sequence).toBe(length);
      ends.push(found.hash);
    }
    expect(new Set([...ends, end.hash]).size).toBe(7);
  });

  it('torn within its last line is set aside, wherever it is torn, and an entry says so', async () => {
    const { lines, file } = await written(2);
    const text = await readFile(file, 'utf8');
    const [first = '', second = ''] = lines;
    const last = `${second}\n`;
    const aside: string[] = [];
    for (const missing of [1, 2, 10, last.length - 1]) {
      await writeFile(file, text.slice(0, -missing));
      const torn = last.slice(0, -missing);
      expect(await verifyAuditLog(file)).toMatchObject({ sequence: 1, tornBytes: torn.length });
      // Opened by itself it is neither changed nor hidden.
      expect(await readFile(file, 'utf8')).toBe(text.slice(0, -missing));

      const log = await AuditLog.open(file, clock);
      await log.append(eventOf(1));
      await log.close();
      aside.push(torn);
      expect(await readFile(`${file}.torn`, 'utf8')).toBe(aside.map((t) => `${t}\n`).join(''));
      expect(await verifyAuditLog(file)).toMatchObject({
        sequence: 3,
        recovered: 1,
        tornBytes: 0,
      });
      const [kept, entry = '', next, end] = (await readFile(file, 'utf8')).split('\n');
      expect([kept, end]).toEqual([first, '']);
      expect(JSON.parse(entry)).toMatchObject({
        sequence: 2,
        event: 'recovered',
        torn: createHash('sha256').update(torn).digest('hex'),
      });
      expect(next).toContain('"patient":"bed-1"');
      expect((await stat(`${file}.torn`)).mode & 0o777).toBe(0o600);
    }
  });

  it.each([0, 1, 50, 200])(
    'torn, and torn again after %i bytes while it was set aside, loses nothing of either',
    async (bytes) => {
      const { lines, file } = await written(2);
      const [first = '', second = ''] = lines;
      await writeFile(file, `${first}\n${second.slice(0, 40)}`);
      await (await AuditLog.open(file, clock)).close();
      const entry = (await readFile(file, 'utf8')).split('\n')[1] ?? '';
      // What a crash leaves while the entry is written over the torn line.
      const half = entry.slice(0, bytes) + second.slice(bytes, 40);
      await writeFile(file, `${first}\n${half}`);
      await (await AuditLog.open(file, clock)).close();
      expect(await verifyAuditLog(file)).toMatchObject({ sequence: 2, recovered: 1, tornBytes: 0 });
      const aside = await readFile(`${file}.torn`, 'utf8');
      expect(aside).toBe(`${second.slice(0, 40)}\n${half}\n`);
    },
  );

  it('that is torn and damaged before does not open, and stays as it is', async () => {
    const { lines, file } = await written(3);
    const text = `${lines[0] ?? ''}\n${lines[2] ?? ''}\n{"sequence":`;
    await writeFile(file, text);
    await expect(AuditLog.open(file, clock)).rejects.toMatchObject(damaged);
    expect(await readFile(file, 'utf8')).toBe(text);
    await expect(stat(`${file}.torn`)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('goes on where it was when it is opened again', async () => {
    const { file, lines, end } = await written(3);
    const log = await AuditLog.open(file, clock);
    await log.append(eventOf(3));
    await log.close();
    const text = await readFile(file, 'utf8');
    expect(text.startsWith(lines.map((line) => `${line}\n`).join(''))).toBe(true);
    const last = JSON.parse(text.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>;
    expect(last).toMatchObject({ sequence: 4, previous: end.hash });
    expect(await verifyAuditLog(file)).toMatchObject({ sequence: 4, hash: last['hash'] });
  });

  it('that is broken does not open, and stays as it is', async () => {
    const { file, lines } = await written(4);
    const text = [lines[0], lines[2], lines[3], ''].join('\n');
    await writeFile(file, text);
    await expect(AuditLog.open(file, clock)).rejects.toMatchObject(damaged);
    expect(await readFile(file, 'utf8')).toBe(text);
  });

  it('keeps the order of events that come at once, and has written those that are done', async () => {
    const file = newFile();
    const log = await AuditLog.open(file, clock);
    await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        await log.append(eventOf(i));
        const text = await readFile(file, 'utf8');
        expect(text).toContain(`"patient":"bed-${String(i)}"`);
      }),
    );
    await log.close();
    const patients = (await readFile(file, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { patient: string }).patient);
    expect(patients).toEqual(Array.from({ length: 60 }, (_, i) => `bed-${String(i)}`));
    expect(await verifyAuditLog(file)).toMatchObject({ sequence: 60 });
  });
});

describe('an audit log on a disk that fails', () => {
  /** The same for every file: those of a log that is opened after it are spied upon. */
  async function fileHandles() {
    const handle = await open(newFile(), 'a');
    const prototype = Object.getPrototypeOf(handle) as FileHandle;
    await handle.close();
    return prototype;
  }
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('has flushed a line before its event is done, many lines at once with one flush', async () => {
    const prototype = await fileHandles();
    const file = newFile();
    const log = await AuditLog.open(file, clock);
    let flushed = '';
    const flush = vi.spyOn(prototype, 'datasync').mockImplementation(async () => {
      flushed = await readFile(file, 'utf8');
    });
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        await log.append(eventOf(i));
        expect(flushed).toContain(`"patient":"bed-${String(i)}"`);
      }),
    );
    expect(flush).toHaveBeenCalledTimes(2);
    await log.close();
  });

  it('fails the events that are not on disk, keeps the chain whole, and goes on', async () => {
    const prototype = await fileHandles();
    const file = newFile();
    const log = await AuditLog.open(file, clock);
    await log.append(eventOf(0));
    const full = Object.assign(new Error('full'), { code: 'ENOSPC' });
    vi.spyOn(prototype, 'datasync').mockRejectedValueOnce(full);
    await expect(log.append(eventOf(1))).rejects.toMatchObject({ code: 'STORAGE_FULL' });
    await log.append(eventOf(2));
    await log.close();
    const patients = (await readFile(file, 'utf8')).match(/bed-\d/g);
    expect(patients).toEqual(['bed-0', 'bed-2']);
    expect(await verifyAuditLog(file)).toMatchObject({ sequence: 2, tornBytes: 0 });
  });
});

describe('duoveil csp audit', () => {
  async function audit(state: string) {
    const child = spawn(process.execPath, [main, 'audit', '--state', state], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
    const [code] = (await once(child, 'close')) as [number];
    return { code, stdout, stderr };
  }

  it('prints length and hash of a whole log, and fails for a broken one', async () => {
    const { lines, end } = await written(5);
    const state = await mkdtemp(join(directory, 'state-'));
    const file = join(state, AUDIT_FILE);
    await writeFile(file, `${lines.join('\n')}\n`);
    const whole = await audit(state);
    expect(whole).toMatchObject({ code: 0, stderr: '' });
    expect(whole.stdout).toBe(`${file}: 5 entries, unbroken\n${end.hash}\n`);

    await appendFile(file, '{"sequence":6,');
    const torn = await audit(state);
    expect(torn).toMatchObject({ code: 0, stderr: '' });
    expect(torn.stdout).toContain('after them 14 bytes of a line that is not complete');
    await (await AuditLog.open(file, clock)).close();
    const recovered = await audit(state);
    expect(recovered).toMatchObject({ code: 0, stderr: '' });
    expect(recovered.stdout).toContain(`${file}: 6 entries, unbroken`);
    expect(recovered.stdout).toContain(`a torn last line was set aside 1 times: see ${file}.torn`);

    await writeFile(file, `${[...lines.slice(0, 2), ...lines.slice(3)].join('\n')}\n`);
    const broken = await audit(state);
    expect(broken.code).toBe(1);
    expect(broken.stdout).toBe('');
    expect(broken.stderr).toContain('STORAGE_FAILED');
    expect(broken.stderr).toContain('line 3');
  });
});
