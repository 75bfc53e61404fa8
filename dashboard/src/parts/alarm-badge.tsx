import type { Alarm } from '../api/types.js';
import { alarmName, alarmState, describeAlarm } from '../state/wording.js';
import { severity } from './level.js';

/** An alarm in a word: filled and with a mark while nobody has acknowledged it. */
export function AlarmBadge({ alarm, highestLevel }: { alarm: Alarm; highestLevel: number }) {
  const open = alarm.acknowledged === undefined;
  const active = alarm.clearedAt === undefined;
  const tone =
    alarm.rule === undefined ? 'device' : `severity-${severity(alarm.rule.level, highestLevel)}`;
  const classes = ['badge', tone, open ? 'open' : 'acknowledged', active ? 'active' : 'cleared'];
  return (
    <span
      class={classes.join(' ')}
      title={`${describeAlarm(alarm, highestLevel)} (${alarmState(alarm)})`}
    >
      <span aria-hidden="true">{open ? '!' : '✓'}</span>
      {alarmName(alarm)}
      <span class="visually-hidden"> alarm, {alarmState(alarm).toLowerCase()}</span>
      {!active && <span aria-hidden="true"> (cleared)</span>}
    </span>
  );
}
