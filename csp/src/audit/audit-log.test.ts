import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

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
    expect(await verifyAuditLog(newFile())).toEqual({ sequence: 0, hash: '0'.repeat(64) });
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
    expect(end).toEqual({ sequence: 7, hash: entries[6]?.['hash'] });
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

  it('torn within its last line does not open, wherever it is torn', async () => {
    const { lines, file } = await written(2);
    const text = await readFile(file, 'utf8');
    const last = `${lines[1] ?? ''}\n`;
    for (const missing of [1, 2, 10, last.length - 1]) {
      await writeFile(file, text.slice(0, -missing));
      await expect(verifyAuditLog(file)).rejects.toMatchObject(damaged);
      await expect(AuditLog.open(file, clock)).rejects.toMatchObject(damaged);
    }
    await writeFile(file, text.slice(0, -last.length));
    expect(await verifyAuditLog(file)).toMatchObject({ sequence: 1 });
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
    expect(await verifyAuditLog(file)).toEqual({ sequence: 4, hash: last['hash'] });
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

    await writeFile(file, `${[...lines.slice(0, 2), ...lines.slice(3)].join('\n')}\n`);
    const broken = await audit(state);
    expect(broken.code).toBe(1);
    expect(broken.stdout).toBe('');
    expect(broken.stderr).toContain('STORAGE_FAILED');
    expect(broken.stderr).toContain('line 3');
  });
});
