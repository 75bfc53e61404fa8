/**
 * What an outlet has been told of a patient's alarms. The book remembers for each alarm in which state
 * it was told last: what differs has to be told, its last state only, however often it changed meanwhile.
 */
import type { Alarm, AlarmId } from './alarm.js';
import { isActive, type AlarmBook } from './book.js';

/** The state of an alarm, as outlets name it. */
export type AlarmState =
  `${'active' | 'cleared'}-${'unacknowledged' | 'acknowledged' | 'escalated'}`;

/** For each alarm the last state that was told; undefined where there is nobody to tell. */
export type Told = ReadonlyMap<AlarmId, AlarmState>;

/** The state that an alarm is in. */
export function stateOf(alarm: Alarm): AlarmState {
  const { acknowledged, escalatedAt } = alarm;
  const seen = acknowledged ? 'acknowledged' : escalatedAt ? 'escalated' : 'unacknowledged';
  return `${isActive(alarm) ? 'active' : 'cleared'}-${seen}`;
}

/** The alarms that somebody has to be told of, the oldest first. */
export function untold({ alarms, told }: AlarmBook): readonly Alarm[] {
  if (told === undefined) return [];
  return alarms.filter((alarm) => !alarm.suppressed && told.get(alarm.id) !== stateOf(alarm));
}

/** Somebody was told of an alarm in a state. What is kept no longer is forgotten. */
export function toldOf(book: AlarmBook, id: AlarmId, state: AlarmState): AlarmBook {
  const kept = new Set(book.alarms.map((alarm) => alarm.id));
  const told = [...(book.told ?? []), [id, state] as const].filter(([one]) => kept.has(one));
  return { ...book, told: new Map(told) };
}

/** There is somebody to tell from now on: of what is active, and not of what was. */
export function telling(book: AlarmBook): AlarmBook {
  if (book.told !== undefined) return book;
  const past = book.alarms.filter((alarm) => !isActive(alarm));
  return { ...book, told: new Map(past.map((alarm) => [alarm.id, stateOf(alarm)])) };
}

/** There is nobody to tell any longer. */
export function silenced(book: AlarmBook): AlarmBook {
  return book.told === undefined ? book : { ...book, told: undefined };
}
