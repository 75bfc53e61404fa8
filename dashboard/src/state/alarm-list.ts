/** Alarms of all patients, as the alarms' page lists them. */
import type { Alarm, AlarmFilter } from '../api/types.js';

/** A list with alarms that have changed since: known ones in place, new ones first. */
export function mergeAlarms(list: readonly Alarm[], changed: readonly Alarm[]): Alarm[] {
  const fresh = new Map(changed.map((alarm) => [alarm.id, alarm]));
  const merged = list.map((alarm) => {
    const newer = fresh.get(alarm.id);
    fresh.delete(alarm.id);
    return newer ?? alarm;
  });
  return [...fresh.values(), ...merged].sort(
    (a, b) => Date.parse(b.raisedAt) - Date.parse(a.raisedAt),
  );
}

/** Whether a filter lets an alarm through. A patient is found by a part of the pseudonym. */
export function matches(alarm: Alarm, filter: AlarmFilter): boolean {
  const { patient, active, acknowledged, kind } = filter;
  return (
    (patient === undefined || alarm.patient.toLowerCase().includes(patient.toLowerCase())) &&
    (active === undefined || active === (alarm.clearedAt === undefined)) &&
    (acknowledged === undefined || acknowledged === (alarm.acknowledged !== undefined)) &&
    (kind === undefined || alarm.kind === kind)
  );
}

/** Whether an alarm is one that somebody ought to look at. */
export function isOpen(alarm: Alarm): boolean {
  return alarm.acknowledged === undefined && !alarm.suppressed;
}
