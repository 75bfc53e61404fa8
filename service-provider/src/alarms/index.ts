/** When alarms are raised, for whoever wants to compute it: pure. */
export type { Alarm, AlarmCause, AlarmPolicy, LevelRule } from './alarm.js';
export { EMPTY_BOOK, isActive } from './book.js';
export type { AlarmBook } from './book.js';
export { judge } from './judgement.js';
export type { Finding } from './judgement.js';
export { Persistence } from './persistence.js';
export { alarmPolicy, DEFAULT_ALARM_RULES, parseAlarmRules } from './policy.js';
