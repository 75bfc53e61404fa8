import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { isDuoveilError } from '@duoveil/common/errors';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Spool } from './spool.js';
import type { SpooledSample } from './spool.js';

let directory = '';
let file = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-spool-'));
  file = join(directory, 'spool.db');
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

const sample = (sequence: number, size = 8): SpooledSample => ({
  sequence,
  bytes: Buffer.alloc(size, sequence),
});

const sequences = (spool: Spool): number[] => spool.from(1, 9999).map(({ sequence }) => sequence);

describe('Spool', () => {
  it('gives samples back in order, byte for byte, also after it was reopened', async () => {
    const first = Spool.open(file);
    // A view into a longer buffer: only what it shows is stored.
    await first.put([{ sequence: 1, bytes: Buffer.from('xxhello').subarray(2) }, sample(2)]);
    await first.put([sample(3)]);
    first.close();
    const spool = Spool.open(file);
    expect(spool.from(1, 2)).toEqual([
      { sequence: 1, bytes: Buffer.from('hello') },
      { sequence: 2, bytes: Buffer.alloc(8, 2) },
    ]);
    expect(spool.from(3, 10)).toEqual([{ sequence: 3, bytes: Buffer.alloc(8, 3) }]);
    expect([spool.size, spool.last, spool.acknowledged]).toEqual([3, 3, 0]);
    spool.close();
  });

  it('forgets what is acknowledged, and remembers that it was', async () => {
    const spool = Spool.open(file);
    await spool.put([sample(1), sample(2), sample(3)]);
    spool.acknowledge(2);
    spool.acknowledge(1);
    expect(sequences(spool)).toEqual([3]);
    spool.close();
    const again = Spool.open(file);
    expect([again.acknowledged, again.last, sequences(again)]).toEqual([2, 3, [3]]);
    again.acknowledge(10);
    expect([again.size, again.last]).toEqual([0, 10]);
    await again.put([sample(11)]);
    await expect(again.put([sample(13)])).rejects.toThrow(RangeError);
    again.close();
  });

  it('waits for room', async () => {
    const spool = Spool.open(file, { capacity: 3 });
    await spool.put([sample(1), sample(2)]);
    let done = false;
    const put = spool.put([sample(3), sample(4)]).then(() => {
      done = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(done).toBe(false);
    spool.acknowledge(1);
    await put;
    expect(sequences(spool)).toEqual([2, 3, 4]);
    const stop = new AbortController();
    const waiting = spool.put([sample(5)], stop.signal);
    stop.abort(new Error('stopped'));
    await expect(waiting).rejects.toThrow('stopped');
    spool.close();
  });

  it('says when the disk is full, and loses nothing', async () => {
    const spool = Spool.open(file, { maxBytes: 20 * 4096 });
    let put = 0;
    const fill = async (): Promise<void> => {
      for (;;) {
        await spool.put([sample(put + 1, 4000)]);
        put += 1;
      }
    };
    const error: unknown = await fill().catch((thrown: unknown) => thrown);
    expect(isDuoveilError(error, 'STORAGE_FULL')).toBe(true);
    expect(put).toBeGreaterThan(5);
    expect(spool.size).toBe(put);
    expect(sequences(spool)).toHaveLength(put);
    // Room again: it goes on where it was.
    spool.acknowledge(put - 1);
    await spool.put([sample(put + 1, 4000)]);
    expect(sequences(spool)).toEqual([put, put + 1]);
    spool.close();
  });

  it('is one process at a time', () => {
    const spool = Spool.open(file);
    expect(() => Spool.open(file)).toThrow(/is another stream running/);
    spool.close();
    Spool.open(file).close();
  });

  it.each([1, 2, 3])('keeps what it confirmed through a kill (%i)', async (round) => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script()]);
    let confirmed = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      confirmed = Number(line);
      if (confirmed >= 40 * round) child.kill('SIGKILL');
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    expect(child.signalCode).toBe('SIGKILL');
    const spool = Spool.open(file);
    const kept = spool.from(1, 9999);
    expect(kept.length).toBeGreaterThanOrEqual(confirmed);
    kept.forEach(({ sequence, bytes }, i) => {
      expect(sequence).toBe(i + 1);
      expect(bytes).toEqual(Buffer.alloc(2000, sequence));
    });
    spool.close();
  });
});

/** A programme that puts sample after sample and prints the number of each that was confirmed. */
function script(): string {
  const built = fileURLToPath(new URL('../dist/spool.js', import.meta.url));
  return `
    import { Spool } from ${JSON.stringify(built)};
    import { writeSync } from 'node:fs';
    const spool = Spool.open(${JSON.stringify(file)}, { capacity: 100000 });
    for (let sequence = 1; ; sequence += 1) {
      await spool.put([{ sequence, bytes: Buffer.alloc(2000, sequence) }]);
      writeSync(1, sequence + '\\n');
    }
  `;
}
