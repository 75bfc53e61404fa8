/**
 * All that is known of one patient's alarms: a book. It is changed as a whole, by pure functions that
 * give a new one or the same.
 */
import type { PatientId } from '@duoveil/common/runtime';

import type { Act, Alarm, AlarmCause, AlarmId, Suppression } from './alarm.js';
import type { Told } from './telling.js';

/** Learn from the samples above a sequence number only. */
export interface Relearning {
  /** The last sample that is not learnt from; undefined until whoever watches the patient has said. */
  readonly after: number | undefined;
  readonly reason: 'policy' | 'operator';
  readonly by: string | undefined;
  readonly at: Date;
}

/** See the file's comment. */
export interface AlarmBook {
  /** Ascending by number, at most {@link MAX_ALARMS}. */
  readonly alarms: readonly Alarm[];
  /** The number of the next alarm. */
  readonly next: number;
  /** The last one that was asked for; it may be over. */
  readonly suppression: Suppression | undefined;
  /** The last one that was asked for. */
  readonly relearning: Relearning | undefined;
  /** What an outlet was told; undefined where there is none. */
  readonly told: Told | undefined;
}

/** What becomes of a book. Done again on a newer one where somebody else was quicker. */
export type BookChange = (book: AlarmBook) => AlarmBook;

/** Alarms that a book keeps. */
export const MAX_ALARMS = 128;

/** The book of a patient of whom nothing is known yet. */
export const EMPTY_BOOK: AlarmBook = {
  alarms: [],
  next: 1,
  suppression: undefined,
  relearning: undefined,
  told: undefined,
};

/** The name of a patient's alarm. */
export function alarmId(patient: PatientId, number: number): AlarmId {
  return `${patient}:${String(number)}` as AlarmId;
}

/** The number in an alarm's name; a patient's pseudonym has no colon. */
export function alarmNumber(id: AlarmId): number {
  return Number(id.slice(id.lastIndexOf(':') + 1));
}

/** Is it active? */
export function isActive({ clearedAt }: Alarm): boolean {
  return clearedAt === undefined;
}

/** Does it want somebody's attention: active or unacknowledged, and not suppressed? */
export function isOpen(alarm: Alarm): boolean {
  return !alarm.suppressed && (isActive(alarm) || alarm.acknowledged === undefined);
}

/** The suppression in force at a moment. */
export function suppressionAt({ suppression }: AlarmBook, now: Date): Suppression | undefined {
  return suppression !== undefined && suppression.until > now ? suppression : undefined;
}

/** Raise an alarm. */
export function raised(book: AlarmBook, { patient, cause, sequence, at }: Raising): AlarmBook {
  const alarm: Alarm = {
    id: alarmId(patient, book.next),
    patient,
    cause,
    sequence,
    raisedAt: at,
    // What it is about is over by the time it is known.
    clearedAt: cause.kind === 'gap' ? at : undefined,
    acknowledged: undefined,
    escalatedAt: undefined,
    suppressed: suppressionAt(book, at) !== undefined,
  };
  return { ...book, alarms: bounded([...book.alarms, alarm]), next: book.next + 1 };
}

/** An alarm that is raised. */
export interface Raising {
  readonly patient: PatientId;
  readonly cause: AlarmCause;
  /** After which sample. */
  readonly sequence: number;
  readonly at: Date;
}

/** Clear the active alarms of which it holds. */
export function cleared(book: AlarmBook, over: (alarm: Alarm) => boolean, at: Date): AlarmBook {
  return changed(book, (alarm) => isActive(alarm) && over(alarm), { clearedAt: at });
}

/** Acknowledge one that is not yet. */
export function acknowledged(book: AlarmBook, id: AlarmId, act: Act): AlarmBook {
  const wanted = (alarm: Alarm): boolean => alarm.id === id && alarm.acknowledged === undefined;
  return changed(book, wanted, { acknowledged: act });
}

/** Escalate what has been active and unacknowledged for long enough, unless alarms are suppressed. */
export function escalated(book: AlarmBook, afterMs: number, now: Date): AlarmBook {
  if (suppressionAt(book, now) !== undefined) return book;
  const due = (alarm: Alarm): boolean =>
    canEscalate(alarm) && alarm.raisedAt.getTime() + afterMs <= now.getTime();
  return changed(book, due, { escalatedAt: now });
}

/** May it escalate one day? */
export function canEscalate(alarm: Alarm): boolean {
  const { acknowledged: act, escalatedAt, suppressed } = alarm;
  return isActive(alarm) && act === undefined && escalatedAt === undefined && !suppressed;
}

/** Keep alarms quiet until a time. */
export function suppressed(book: AlarmBook, suppression: Suppression): AlarmBook {
  return { ...book, suppression };
}

/** Let alarms be heard again, those too that were raised meanwhile and are still active. */
export function unsuppressed(book: AlarmBook): AlarmBook {
  if (book.suppression === undefined) return book;
  const heard = changed(book, (alarm) => alarm.suppressed && isActive(alarm), {
    suppressed: false,
  });
  return { ...heard, suppression: undefined };
}

/** Ask for the baseline to be learnt anew. */
export function relearning(book: AlarmBook, asked: Relearning): AlarmBook {
  return { ...book, relearning: asked };
}

/** Say from where on it is learnt anew, where that is asked for and not said yet. */
export function settled(book: AlarmBook, decided: number): AlarmBook {
  const asked = book.relearning;
  if (asked === undefined || asked.after !== undefined) return book;
  return { ...book, relearning: { ...asked, after: decided } };
}

/** The alarms of a book that another one has not, or not as they are now. */
export function changedAlarms(before: AlarmBook, after: AlarmBook): readonly Alarm[] {
  const known = new Map(before.alarms.map((alarm) => [alarm.id, stateOf(alarm)]));
  return after.alarms.filter((alarm) => known.get(alarm.id) !== stateOf(alarm));
}

/** All of an alarm that can change. */
function stateOf({ clearedAt, acknowledged: act, escalatedAt, suppressed: quiet }: Alarm): string {
  return [clearedAt, act?.at, escalatedAt, quiet].map(String).join();
}

function changed(
  book: AlarmBook,
  which: (alarm: Alarm) => boolean,
  change: Partial<Alarm>,
): AlarmBook {
  if (!book.alarms.some(which)) return book;
  const alarms = book.alarms.map((alarm) => (which(alarm) ? { ...alarm, ...change } : alarm));
  return { ...book, alarms };
}

/** Where there are too many: without the oldest that nobody has to do anything about, else the oldest. */
function bounded(alarms: readonly Alarm[]): readonly Alarm[] {
  if (alarms.length <= MAX_ALARMS) return alarms;
  const done = (alarm: Alarm): boolean => !isActive(alarm) && alarm.acknowledged !== undefined;
  const found = [alarms.findIndex(done), alarms.findIndex((alarm) => !isActive(alarm)), 0];
  const victim = found.find((index) => index >= 0);
  return alarms.filter((_, index) => index !== victim);
}
