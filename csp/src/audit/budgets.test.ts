import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { isDuoveilError } from '@duoveil/common/errors';
import { Secret } from '@duoveil/common/secret';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Budgets, type Allowance } from './budgets.js';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** Twelve hours into a day, at the beginning of a minute. */
const NOON = Date.UTC(2026, 2, 3, 12);
const UNLIMITED: Allowance = { perMinute: 0, perDay: 0 };

const NOTHING = '{"index":0,"reserved":{}}';

/** What of the file these tests look at. */
interface OnDisk {
  readonly day: { readonly reserved: Readonly<Record<string, number>> };
}

let directory: string;
let files = 0;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-budgets-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

/** Budgets with a clock that is set by hand, in a file that can be opened again. */
async function setUp(options: { patient?: Allowance; provider?: Allowance; file?: string }) {
  const file = options.file ?? join(directory, `budgets-${String(files++)}.json`);
  // The wall clock can be set; the monotonic one goes with it unless a test takes them apart.
  const time = {
    now: NOON,
    ahead: 0,
    setBack(ms: number) {
      this.now -= ms;
      this.ahead += ms;
    },
  };
  const open = () =>
    Budgets.open({
      file,
      key: new Secret(new Uint8Array(32).fill(7)),
      patient: options.patient ?? UNLIMITED,
      provider: options.provider ?? UNLIMITED,
      clock: {
        now: () => new Date(time.now),
        monotonicMs: () => time.now + time.ahead - NOON + 12_345.678,
      },
    });
  return { file, time, open, budgets: await open() };
}

/** How many of so many scores are admitted; those that are not are refused for their budget. */
async function admitted(
  budgets: Budgets,
  times: number,
  patient = 'ward-3.bed-12',
  provider = 'sp',
): Promise<number> {
  let count = 0;
  for (let i = 0; i < times; i++) {
    try {
      await budgets.spend(patient, provider);
      count += 1;
    } catch (error) {
      if (!isDuoveilError(error, 'BUDGET_EXCEEDED')) throw error;
    }
  }
  return count;
}

describe.each(['patient', 'provider'] as const)('the budget of a %s', (kind) => {
  const only = (allowance: Allowance) => ({ [kind]: allowance });
  const another = kind === 'patient' ? (['other', 'sp'] as const) : (['one', 'other'] as const);
  const first = ['one', 'sp'] as const;

  it('a minute is refused when it is spent, and there again in the next minute', async () => {
    const { budgets, time } = await setUp(only({ perMinute: 3, perDay: 0 }));
    time.now += 10_500;
    expect(await admitted(budgets, 5, ...first)).toBe(3);
    await expect(budgets.spend(...first)).rejects.toMatchObject({
      code: 'BUDGET_EXCEEDED',
      details: { retryAfterMs: 49_500 },
    });
    time.now = NOON + MINUTE - 1;
    await expect(budgets.spend(...first)).rejects.toMatchObject({ details: { retryAfterMs: 1 } });
    time.now += 1;
    expect(await admitted(budgets, 5, ...first)).toBe(3);
  });

  it('a day is refused when it is spent, and there again on the next day', async () => {
    const { budgets, time } = await setUp(only({ perMinute: 0, perDay: 5 }));
    expect(await admitted(budgets, 4, ...first)).toBe(4);
    time.now += 3 * MINUTE;
    expect(await admitted(budgets, 4, ...first)).toBe(1);
    await expect(budgets.spend(...first)).rejects.toMatchObject({
      code: 'BUDGET_EXCEEDED',
      details: { retryAfterMs: DAY / 2 - 3 * MINUTE },
    });
    time.now = NOON + DAY / 2 - 1;
    expect(await admitted(budgets, 2, ...first)).toBe(0);
    time.now += 1;
    expect(await admitted(budgets, 9, ...first)).toBe(5);
  });

  it('is its own: another has all of it', async () => {
    const { budgets } = await setUp(only({ perMinute: 2, perDay: 0 }));
    expect(await admitted(budgets, 4, ...first)).toBe(2);
    expect(await admitted(budgets, 4, ...another)).toBe(2);
  });

  it('of 0 is none: nothing is refused, and nothing written', async () => {
    const { budgets, file } = await setUp({});
    expect(await admitted(budgets, 500, ...first)).toBe(500);
    await expect(readFile(file)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it.each([1, 2, 99, 100, 101, 150, 250])(
    'of %i a day is never given back by opening the file again',
    async (perDay) => {
      const { budgets, open } = await setUp(only({ perMinute: 0, perDay }));
      const block = Math.ceil(perDay / 100);
      let total = await admitted(budgets, 1, ...first);
      for (let i = 0; i < 4; i++) total += await admitted(await open(), 1, ...first);
      const rest = await admitted(await open(), perDay + 1, ...first);
      expect(total + rest).toBeLessThanOrEqual(perDay);
      // What a stop costs is a block at most.
      expect(total + rest).toBeGreaterThanOrEqual(Math.max(1, perDay - 5 * (block - 1)));
      expect(await admitted(await open(), 3, ...first)).toBe(0);
    },
  );

  it.each([1, 3, 4, 7, 120])(
    'of %i a minute is never given back by opening the file again, and is there in the next one',
    async (perMinute) => {
      const { open, time } = await setUp(only({ perMinute, perDay: 0 }));
      time.now += 7_000;
      let total = 0;
      for (let i = 0; i < 6; i++) total += await admitted(await open(), 1, ...first);
      total += await admitted(await open(), perMinute + 1, ...first);
      expect(total).toBeLessThanOrEqual(perMinute);
      expect(total).toBeGreaterThanOrEqual(1);
      time.now += MINUTE;
      expect(await admitted(await open(), perMinute + 1, ...first)).toBe(perMinute);
    },
  );

  it('is not renewed by a clock that is set back, within the process or over a restart', async () => {
    const allowance = { perMinute: 2, perDay: 3 };
    const { budgets, open, time } = await setUp(only(allowance));
    time.now = NOON + DAY / 2;
    // Just after midnight: all of the new day's budget, but for what the minute does not allow.
    expect(await admitted(budgets, 5, ...first)).toBe(2);
    time.setBack(30_000);
    expect(await admitted(budgets, 5, ...first)).toBe(0);
    expect(await admitted(await open(), 5, ...first)).toBe(0);
    time.setBack(3 * DAY);
    expect(await admitted(budgets, 5, ...first)).toBe(0);
    const again = await open();
    expect(await admitted(again, 5, ...first)).toBe(0);
    // Time goes on from where it was, by itself: neither is anybody shut out for three days.
    time.now += MINUTE;
    expect(await admitted(again, 5, ...first)).toBe(1);
    time.now += DAY;
    expect(await admitted(again, 5, ...first)).toBe(2);
  });

  it('reserved on another day counts no more', async () => {
    const { budgets, open, time } = await setUp(only({ perMinute: 0, perDay: 3 }));
    expect(await admitted(budgets, 4, ...first)).toBe(3);
    time.now += DAY;
    expect(await admitted(await open(), 4, ...first)).toBe(3);
  });

  it('is not overspent by calls at once', async () => {
    const { budgets } = await setUp(only({ perMinute: 0, perDay: 20 }));
    const calls = Array.from({ length: 50 }, () => budgets.spend(...first));
    const results = await Promise.allSettled(calls);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(20);
  });
});

describe('budgets', () => {
  it('of both kinds hold together; what one refuses does not cost the other', async () => {
    const { budgets } = await setUp({
      patient: { perMinute: 2, perDay: 0 },
      provider: { perMinute: 3, perDay: 0 },
    });
    expect(await admitted(budgets, 5, 'one')).toBe(2);
    // Were the refused ones counted, nothing would be left for another patient.
    expect(await admitted(budgets, 5, 'two')).toBe(1);
    expect(await admitted(budgets, 5, 'three')).toBe(0);
  });

  it('name patient and provider apart', async () => {
    const { budgets } = await setUp({
      patient: { perMinute: 1, perDay: 0 },
      provider: { perMinute: 2, perDay: 0 },
    });
    expect(await admitted(budgets, 1, 'same', 'same')).toBe(1);
    expect(await admitted(budgets, 1, 'other', 'same')).toBe(1);
    expect(await admitted(budgets, 1, 'third', 'same')).toBe(0);
  });

  it('hold no name on disk, nor a hash that can be made without the key', async () => {
    const { budgets, file } = await setUp({
      patient: { perMinute: 0, perDay: 10 },
      provider: { perMinute: 0, perDay: 10 },
    });
    await budgets.spend('ward-3.bed-12', 'spiffe-name');
    const text = await readFile(file, 'utf8');
    for (const name of ['ward-3.bed-12', 'spiffe-name']) {
      expect(text).not.toContain(name);
      for (const written of [name, `patient/${name}`, `provider/${name}`]) {
        expect(text).not.toContain(createHash('sha256').update(written).digest('hex'));
        expect(text).not.toContain(Buffer.from(written).toString('hex'));
      }
    }
    expect(Object.keys((JSON.parse(text) as OnDisk).day.reserved)).toHaveLength(2);
    expect((await readdir(directory)).some((name) => name.includes('bed'))).toBe(false);
  });

  it('are written before a score is admitted', async () => {
    const { budgets, file } = await setUp({ patient: { perMinute: 0, perDay: 200 } });
    for (let spent = 1; spent <= 7; spent++) {
      await budgets.spend('one', 'sp');
      const { day } = JSON.parse(await readFile(file, 'utf8')) as OnDisk;
      expect(Math.max(...Object.values(day.reserved))).toBeGreaterThanOrEqual(spent);
    }
  });

  it('are written before any of several scores at once is admitted', async () => {
    const { budgets, file } = await setUp({ patient: { perMinute: 0, perDay: 1000 } });
    let admittedSoFar = 0;
    const seen: boolean[] = [];
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        await budgets.spend('one', 'sp');
        admittedSoFar += 1;
        const counted = admittedSoFar;
        const text = await readFile(file, 'utf8').catch(() => '{"day":{"reserved":{"none":0}}}');
        const { day } = JSON.parse(text) as OnDisk;
        seen.push(Math.max(...Object.values(day.reserved)) >= counted);
      }),
    );
    expect(seen).toEqual(Array(8).fill(true));
  });

  it('refuse while they cannot be written, and go on once they can', async () => {
    const folder = join(directory, `gone-${String(files++)}`);
    const file = join(folder, 'budgets.json');
    const { budgets, open } = await setUp({ file, patient: { perMinute: 0, perDay: 1000 } });
    // The directory is not there: nothing of the reservation gets onto disk, so nothing is admitted.
    for (let i = 0; i < 3; i++) {
      await expect(budgets.spend('one', 'sp')).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
    }
    await mkdir(folder);
    expect(await admitted(budgets, 30, 'one')).toBe(30);
    const again = await open();
    expect(await admitted(again, 2000, 'one')).toBeLessThanOrEqual(970);
  });

  it.each([
    '',
    '{',
    '[]',
    '{"version":1,"day":1,"reserved":{}}',
    `{"version":2,"time":1,"minute":${NOTHING},"day":{"index":1,"reserved":{"ward-3.bed-12":1}}}`,
    `{"version":2,"time":1,"minute":${NOTHING},"day":{"index":1,"reserved":{"${'0'.repeat(64)}":-1}}}`,
  ])('do not open a damaged file: %s', async (text) => {
    const file = join(directory, `damaged-${String(files++)}.json`);
    await writeFile(file, text);
    await expect(setUp({ file })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
