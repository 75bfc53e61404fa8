import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { parsePatientId } from '@duoveil/common/runtime';
import { Secret } from '@duoveil/common/secret';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { contextForTests } from '../../../harness/src/local/loopback.js';
import { AuditLog } from './audit-log.js';
import { Budgets, type Allowance } from './budgets.js';
import { Discipline } from './discipline.js';

const MINUTE = 60_000;
const NOON = Date.UTC(2026, 2, 3, 12);

let directory: string;
let files = 0;
const opened: AuditLog[] = [];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-discipline-'));
});
afterAll(async () => {
  await Promise.all(opened.map((log) => log.close()));
  await rm(directory, { recursive: true });
});

/** A discipline with a clock that is set by hand. */
async function setUp(allowDistance: boolean, patient: Allowance) {
  const time = { now: NOON };
  const clock = { now: () => new Date(time.now), monotonicMs: () => time.now - NOON };
  const file = join(directory, `audit-${String(files++)}.log`);
  const audit = await AuditLog.open(file, clock);
  opened.push(audit);
  const budgets = await Budgets.open({
    file: `${file}.budgets`,
    key: new Secret(new Uint8Array(32)),
    patient,
    provider: { perMinute: 0, perDay: 0 },
    clock,
  });
  const discipline = new Discipline(allowDistance, budgets, audit, clock);
  const admit = (
    method: string,
    output: 'distance' | 'level',
    keyId = 'aa',
    answer = (): Promise<void> => Promise.resolve(),
  ) =>
    discipline.answer(
      method,
      output,
      { keyId, patient: parsePatientId('bed-1', 'patient') },
      contextForTests(),
      answer,
    );
  /** Every line, as event, method and code. */
  const lines = async () =>
    (await readFile(file, 'utf8'))
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, string>)
      .map(({ event = '', method = '', code = '' }) => `${event} ${method} ${code}`.trim());
  return { time, admit, lines, audit };
}

const exceeded = { code: 'BUDGET_EXCEEDED' };

describe('the discipline', () => {
  it('writes down each call that gives distances, before it is answered, and no level', async () => {
    const { admit, lines } = await setUp(true, { perMinute: 0, perDay: 0 });
    await admit('Divide', 'distance');
    expect(await lines()).toEqual(['distance Divide']);
    await admit('Score', 'level');
    await admit('Divide', 'distance');
    expect(await lines()).toEqual(['distance Divide', 'distance Divide']);
  });

  it('gives out no answer whose line could not be written', async () => {
    const { admit, audit } = await setUp(true, { perMinute: 0, perDay: 0 });
    vi.spyOn(audit, 'append').mockRejectedValueOnce(new Error('disk'));
    await expect(admit('Score', 'distance')).rejects.toThrow('disk');
  });

  it('begins no answer to what it refuses', async () => {
    const { admit } = await setUp(false, { perMinute: 1, perDay: 0 });
    const answer = vi.fn(() => Promise.resolve());
    await expect(admit('Score', 'distance', 'aa', answer)).rejects.toThrow();
    await admit('Score', 'level', 'aa', answer);
    await expect(admit('Score', 'level', 'aa', answer)).rejects.toMatchObject(exceeded);
    expect(answer).toHaveBeenCalledTimes(1);
  });

  it('writes down each refusal of a distance, and charges nothing for it', async () => {
    const { admit, lines } = await setUp(false, { perMinute: 1, perDay: 0 });
    for (let i = 0; i < 3; i++) {
      await expect(admit('Divide', 'distance')).rejects.toMatchObject({
        code: 'OUTPUT_NOT_ALLOWED',
      });
    }
    expect(await lines()).toEqual(Array(3).fill('refused Divide OUTPUT_NOT_ALLOWED'));
    await admit('Score', 'level');
  });

  it('charges distances and levels to one budget', async () => {
    const { admit } = await setUp(true, { perMinute: 2, perDay: 0 });
    await admit('Divide', 'distance');
    await admit('Score', 'level');
    await expect(admit('Divide', 'distance')).rejects.toMatchObject(exceeded);
    await expect(admit('Score', 'level')).rejects.toMatchObject(exceeded);
  });

  it('follows the key: another one of the same patient pays for itself', async () => {
    const { admit } = await setUp(false, { perMinute: 1, perDay: 0 });
    await admit('Score', 'level', 'aa');
    await admit('Score', 'level', 'bb');
    await expect(admit('Score', 'level', 'aa')).rejects.toMatchObject(exceeded);
  });

  it('writes down that a budget is spent once for each time that it is, however often it is asked', async () => {
    const { admit, lines, time } = await setUp(false, { perMinute: 1, perDay: 3 });
    const refusals = async () => {
      for (let i = 0; i < 5; i++) {
        await expect(admit('Score', 'level')).rejects.toMatchObject(exceeded);
        time.now += 100;
      }
    };
    const line = 'refused Score BUDGET_EXCEEDED';
    for (let minute = 0; minute < 2; minute++) {
      time.now = NOON + minute * MINUTE;
      await admit('Score', 'level');
      await refusals();
      expect(await lines()).toEqual(Array(minute + 1).fill(line));
    }
    // The third of the day is the last: the day's refusal is news when the minute's is over.
    time.now = NOON + 2 * MINUTE;
    await admit('Score', 'level');
    await refusals();
    time.now = NOON + 5 * MINUTE;
    await refusals();
    expect(await lines()).toEqual(Array(3).fill(line));
    // Another key is refused on its own account.
    await admit('Score', 'level', 'bb');
    await expect(admit('Score', 'level', 'bb')).rejects.toMatchObject(exceeded);
    expect(await lines()).toHaveLength(4);
  });
});
