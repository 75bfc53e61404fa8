/** Words for what the API says in codes: the same on every page. */
import { LEARNING, UNSCORABLE } from '../api/types.js';
import type { Alarm, BaselineNotice, LevelPoint, PatientSummary } from '../api/types.js';

/** What an alarm is about, in a few words. */
export function describeAlarm(alarm: Alarm, highestLevel?: number): string {
  switch (alarm.kind) {
    case 'level':
      return alarm.rule === undefined
        ? 'level'
        : `${atLeast(alarm.rule.level, highestLevel)} in ${alarm.rule.count} of ${alarm.rule.of} samples`;
    case 'gap':
      return `nothing measured ${span(alarm.from, alarm.to)}`;
    case 'silence':
      return alarm.since === undefined
        ? 'the device is silent'
        : `the device is silent since ${clockTime(alarm.since)}`;
  }
}

function atLeast(level: number, highestLevel: number | undefined): string {
  return level === highestLevel ? `level ${level}` : `level ${level} or more`;
}

function span(from: string | undefined, to: string | undefined): string {
  return from === undefined || to === undefined
    ? 'for a time'
    : `from ${clockTime(from)} to ${clockTime(to)}`;
}

/** An alarm's short name, for a badge. */
export function alarmName({ kind, rule }: Alarm): string {
  if (kind === 'level') return `Level ${rule?.level ?? '?'}`;
  return kind === 'gap' ? 'Gap' : 'Silent';
}

/** How an alarm stands. */
export function alarmState({ clearedAt, acknowledged }: Alarm): string {
  const active = clearedAt === undefined ? 'Active' : 'Cleared';
  return `${active}, ${acknowledged === undefined ? 'not acknowledged' : 'acknowledged'}`;
}

/** A level as text: never a bare number, which could be taken for a reading. */
export function describeLevel(level: number | undefined, highestLevel: number): string {
  if (level === undefined || level === UNSCORABLE) return 'no level';
  if (level === LEARNING) return 'learning';
  return `level ${level} of ${highestLevel}`;
}

/** A strip in words: how many of the last samples had which level, the highest first. */
export function describeRecent(recent: readonly LevelPoint[]): string {
  if (recent.length === 0) return 'no samples yet';
  const counts = new Map<number, number>();
  for (const [, , level] of recent) counts.set(level, (counts.get(level) ?? 0) + 1);
  const parts = [...counts]
    .sort(([a], [b]) => b - a)
    .map(([level, count]) => `${count} ${count === 1 ? 'is' : 'are'} ${place(level)}`);
  return `of the last ${recent.length} samples ${parts.join(', ')}`;
}

function place(level: number): string {
  if (level >= 0) return `at level ${level}`;
  return level === LEARNING ? 'learnt from' : 'without a level';
}

/** What a patient's state means. */
export const STATES: Readonly<Record<PatientSummary['state'], string>> = {
  waiting: 'No samples yet',
  learning: 'Learning the baseline',
  monitoring: 'Monitoring',
  silent: 'Silent',
};

/** Why a baseline was learnt. */
export function describeReason({ reason, by }: BaselineNotice): string {
  switch (reason) {
    case 'first':
      return 'the first one';
    case 'rolling':
      return 'rolling baseline';
    case 'policy':
      return 'by policy, after a lasting alarm';
    case 'operator':
      return by === undefined ? 'asked for by an operator' : `asked for by ${by}`;
  }
}

/** Local time of day, with the date where that is not today's. */
export function clockTime(time: string | number | Date, now = new Date()): string {
  const at = new Date(time);
  const clock = at.toLocaleTimeString([], TIME_OF_DAY);
  return at.toDateString() === now.toDateString()
    ? clock
    : `${at.toLocaleDateString([], DAY)} ${clock}`;
}

const TIME_OF_DAY = {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
} as const;
const DAY = { year: 'numeric', month: 'short', day: 'numeric' } as const;

/** A length of time in its two greatest units. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  const parts = (
    [
      [Math.floor(seconds / 86_400), 'd'],
      [Math.floor(seconds / 3_600) % 24, 'h'],
      [Math.floor(seconds / 60) % 60, 'min'],
      [seconds % 60, 's'],
    ] as const
  ).filter(([count]) => count > 0);
  return parts.length === 0
    ? '0 s'
    : parts
        .slice(0, 2)
        .map(([count, unit]) => `${count} ${unit}`)
        .join(' ');
}
