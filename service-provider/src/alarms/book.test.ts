import { parsePatientId } from '@duoveil/common/runtime';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { AlarmCause } from './alarm.js';
import {
  acknowledged,
  alarmId,
  changedAlarms,
  cleared,
  EMPTY_BOOK,
  escalated,
  isActive,
  isOpen,
  MAX_ALARMS,
  raised,
  relearning,
  settled,
  suppressed,
  unsuppressed,
  type AlarmBook,
} from './book.js';
import { BOOK_STEP_BYTES, decodeBook, encodeBook } from './book-codec.js';
import { toldOf } from './telling.js';

const patient = parsePatientId('ward.7-a', 'patient');
const at = (seconds: number): Date => new Date(1_767_225_600_000 + seconds * 1000);
const level: AlarmCause = { kind: 'level', rule: { level: 1, count: 20, of: 30 } };
const gap: AlarmCause = { kind: 'gap', from: at(-60), to: at(-1) };
const silence: AlarmCause = { kind: 'silence', since: at(-90) };
const act = { by: 'alice', at: at(5) };
const raise = (book: AlarmBook, seconds: number, cause: AlarmCause = level): AlarmBook =>
  raised(book, { patient, cause, sequence: seconds, at: at(seconds) });
const quiet = { ...act, until: at(600), reason: 'being washed' };

describe('an alarm', () => {
  it('is active and unacknowledged until somebody or something says otherwise, in any order', () => {
    const book = raise(EMPTY_BOOK, 1);
    const id = alarmId(patient, 1);
    expect(book.alarms[0]).toMatchObject({ id, clearedAt: undefined, acknowledged: undefined });
    const both = [
      acknowledged(
        cleared(book, () => true, at(9)),
        id,
        act,
      ),
      cleared(acknowledged(book, id, act), () => true, at(9)),
    ];
    for (const one of both) {
      expect(one.alarms[0]).toMatchObject({ clearedAt: at(9), acknowledged: act });
      expect(one.alarms.some(isOpen)).toBe(false);
    }
    expect(cleared(book, () => true, at(9)).alarms.some(isOpen)).toBe(true);
    expect(acknowledged(book, id, act).alarms.some(isOpen)).toBe(true);
  });

  it('stays as it was acknowledged first, and as it was cleared first', () => {
    const id = alarmId(patient, 1);
    const book = cleared(acknowledged(raise(EMPTY_BOOK, 1), id, act), () => true, at(9));
    expect(acknowledged(book, id, { by: 'bob', at: at(20) })).toBe(book);
    expect(cleared(book, () => true, at(20))).toBe(book);
  });

  it('of a gap is over when it is known', () => {
    expect(raise(EMPTY_BOOK, 3, gap).alarms[0]).toMatchObject({ clearedAt: at(3) });
  });

  it('escalates once, where it is active, unacknowledged and not suppressed for so long', () => {
    const book = raise(raise(EMPTY_BOOK, 0, silence), 10);
    expect(escalated(book, 60_000, at(59.999))).toBe(book);
    const after = escalated(book, 60_000, at(60));
    expect(after.alarms.map(({ escalatedAt }) => escalatedAt)).toEqual([at(60), undefined]);
    expect(escalated(after, 60_000, at(61))).toBe(after);
    expect(escalated(suppressed(book, quiet), 60_000, at(300)).alarms).toEqual(book.alarms);
    const seen = acknowledged(book, alarmId(patient, 1), act);
    expect(escalated(seen, 60_000, at(65))).toBe(seen);
    const over = cleared(book, () => true, at(20));
    expect(escalated(over, 60_000, at(400))).toBe(over);
  });

  it('is suppressed where it is raised meanwhile, and heard where it outlasts that', () => {
    const before = suppressed(raise(EMPTY_BOOK, 1), quiet);
    const during = raise(raise(before, 20, silence), 30, gap);
    expect(during.alarms.map((alarm) => alarm.suppressed)).toEqual([false, true, true]);
    const after = unsuppressed(during);
    expect(after.suppression).toBeUndefined();
    expect(after.alarms.map((alarm) => alarm.suppressed)).toEqual([false, false, true]);
    expect(raise(before, 601).alarms.map((alarm) => alarm.suppressed)).toEqual([false, false]);
    expect(unsuppressed(after)).toBe(after);
  });
});

describe('a book', () => {
  it('keeps the last alarms, and those longest that somebody has to look at', () => {
    let book = raise(EMPTY_BOOK, 0);
    for (let i = 1; i < MAX_ALARMS; i += 1) book = raise(book, i, gap);
    book = acknowledged(book, alarmId(patient, 50), act);
    book = raise(book, 1000, gap);
    const numbers = (): string[] => book.alarms.map(({ id }) => id);
    expect(numbers()).not.toContain(alarmId(patient, 50));
    book = raise(book, 1001, gap);
    expect(numbers()).not.toContain(alarmId(patient, 2));
    expect(book.alarms).toHaveLength(MAX_ALARMS);
    expect(book.alarms.filter(isActive)).toHaveLength(1);
    expect(book.next).toBe(MAX_ALARMS + 3);
  });

  it('says which alarms differ', () => {
    const book = raise(raise(EMPTY_BOOK, 0), 1, gap);
    const after = raise(acknowledged(book, alarmId(patient, 1), act), 2, gap);
    const read = decodeBook(encodeBook(after), patient);
    for (const one of [after, read]) {
      expect(changedAlarms(book, one).map(({ id }) => id)).toEqual([
        alarmId(patient, 1),
        alarmId(patient, 3),
      ]);
    }
    expect(changedAlarms(after, read)).toEqual([]);
  });

  it('settles once from where on a baseline is learnt', () => {
    const asked = { after: undefined, reason: 'operator', by: 'alice', at: at(1) } as const;
    const book = settled(relearning(EMPTY_BOOK, asked), 17);
    expect(book.relearning).toEqual({ ...asked, after: 17 });
    expect(settled(book, 30)).toBe(book);
    expect(settled(EMPTY_BOOK, 30)).toBe(EMPTY_BOOK);
  });
});

describe('a book as bytes', () => {
  it('comes back, whatever is in it', () => {
    const cause = fc.constantFrom(level, gap, silence);
    const step = fc.tuple(fc.integer({ min: 0, max: 9 }), cause, fc.string({ unit: 'grapheme' }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const book = steps.reduce((before, [kind, why, text], i) => {
          const by = `n${text}`;
          if (kind === 0) return cleared(before, () => true, at(i));
          if (kind === 1)
            return suppressed(before, { by, at: at(i), until: at(i + 9), reason: by });
          if (kind === 2) return acknowledged(before, alarmId(patient, i >> 1), { by, at: at(i) });
          if (kind === 3) return escalated(before, 0, at(i));
          if (kind === 4) return relearning(before, { after: i, reason: 'policy', by, at: at(i) });
          return raise(before, i, why);
        }, EMPTY_BOOK);
        const bytes = encodeBook(book);
        expect(decodeBook(bytes, patient)).toEqual(book);
        expect(bytes.length % BOOK_STEP_BYTES).toBe(0);
      }),
    );
  });

  it('is as long when it is full as when it is empty', () => {
    let book = suppressed(EMPTY_BOOK, quiet);
    for (let i = 1; i <= MAX_ALARMS; i += 1) {
      book = escalated(raise(book, 1_000_000 + i), 0, at(1_000_000 + i));
      book = acknowledged(book, alarmId(patient, i), { by: 'alice.operator', at: at(i) });
      book = cleared(book, () => true, at(1_000_000 + i));
      book = toldOf(book, alarmId(patient, i), 'cleared-acknowledged');
    }
    expect(decodeBook(encodeBook(book), patient)).toEqual(book);
    expect(encodeBook(book)).toHaveLength(BOOK_STEP_BYTES);
    expect(encodeBook(EMPTY_BOOK)).toHaveLength(BOOK_STEP_BYTES);
  });

  it('is refused where it is none', () => {
    const bytes = encodeBook(raise(EMPTY_BOOK, 1));
    const spoilt = Buffer.from(bytes);
    spoilt.write('9', bytes.indexOf('"version":1') + 10);
    for (const one of [Buffer.alloc(0), Buffer.alloc(64), bytes.subarray(0, 20), spoilt]) {
      expect(() => decodeBook(one, patient)).toThrow(
        expect.objectContaining({ code: 'STORAGE_FAILED' }) as Error,
      );
    }
  });
});
