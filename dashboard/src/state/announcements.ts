/** What a screen reader is told, and everybody is shown, when an alarm comes up. */
import type { Alarm, FleetChange } from '../api/types.js';
import { describeAlarm } from './wording.js';

/** Tells new alarms from those that have been told of. */
export class AlarmHerald {
  readonly #told = new Set<string>();

  /** What to say of a change; empty where nothing new is in it. */
  announce({ summary, changed }: FleetChange): string[] {
    return changed
      .filter((alarm) => this.#isNews(alarm))
      .map((alarm) => {
        this.#told.add(key(alarm));
        const what = alarm.escalatedAt === undefined ? 'New alarm' : 'Alarm escalated';
        return `${what}: ${alarm.patient}, ${describeAlarm(alarm, summary.highestLevel)}`;
      });
  }

  #isNews(alarm: Alarm): boolean {
    const open = alarm.clearedAt === undefined && alarm.acknowledged === undefined;
    return open && !alarm.suppressed && !this.#told.has(key(alarm));
  }
}

/** An escalated alarm is told of once more. */
function key({ id, escalatedAt }: Alarm): string {
  return escalatedAt === undefined ? id : `${id} escalated`;
}
