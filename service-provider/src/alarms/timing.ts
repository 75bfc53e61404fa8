/** What time alone does to alarms: silence, escalation, and the end of a suppression. */
import type { PatientId } from '@duoveil/common/runtime';

import type { Alarm, AlarmPolicy } from './alarm.js';
import { canEscalate, cleared, escalated, isActive, raised, unsuppressed } from './book.js';
import type { AlarmBook, BookChange } from './book.js';

/** How a patient's samples come in. */
export interface Arrivals {
  readonly patient: PatientId;
  /** When the last sample came in; undefined before the first. */
  readonly lastSeen: Date | undefined;
  /** Since when somebody watches: nobody could come in before. */
  readonly watchedSince: Date;
  /** The last sample that has a decision. */
  readonly decided: number;
}

/** What is due at a moment. @returns undefined for nothing */
export function due(
  book: AlarmBook,
  policy: AlarmPolicy,
  arrivals: Arrivals,
  now: Date,
): BookChange | undefined {
  const { patient, lastSeen, decided: sequence } = arrivals;
  const silence = book.alarms.find(isSilence);
  const isOver = (alarm: Alarm): boolean =>
    alarm.cause.kind === 'silence' && lastSeen !== undefined && lastSeen > alarm.cause.since;
  const silent = lastSeen !== undefined && silence === undefined && isSilent(arrivals, policy, now);
  const broken = silence !== undefined && isOver(silence);
  if (!silent && !broken && nextMoment(book, policy) > now.getTime()) return undefined;
  return (current) => {
    let next = current;
    if (current.suppression !== undefined && current.suppression.until <= now) {
      next = unsuppressed(next);
    }
    if (broken) next = cleared(next, isOver, now);
    if (silent && !next.alarms.some(isSilence)) {
      const cause = { kind: 'silence', since: lastSeen } as const;
      next = raised(next, { patient, cause, sequence, at: now });
    }
    return escalated(next, policy.escalateAfterMs, now);
  };
}

function isSilence(alarm: Alarm): boolean {
  return isActive(alarm) && alarm.cause.kind === 'silence';
}

function isSilent({ lastSeen, watchedSince }: Arrivals, policy: AlarmPolicy, now: Date): boolean {
  const since = Math.max(lastSeen?.getTime() ?? 0, watchedSince.getTime());
  return now.getTime() - since > policy.silentAfterMs;
}

/** The next moment, in milliseconds, at which time changes something that is in the book. */
function nextMoment({ alarms, suppression }: AlarmBook, { escalateAfterMs }: AlarmPolicy): number {
  if (suppression !== undefined) return suppression.until.getTime();
  return alarms
    .filter(canEscalate)
    .reduce((next, { raisedAt }) => Math.min(next, raisedAt.getTime() + escalateAfterMs), Infinity);
}
