/** What an alarm is. Nothing in here is, or says, a vital sign: levels, times and who did what. */
import { duoveilError } from '@duoveil/common/errors';
import type { PatientId } from '@duoveil/common/runtime';

declare const alarmIdBrand: unique symbol;

/** Names an alarm for good: `<patient>:<number>`, the number counting a patient's alarms from 1. */
export type AlarmId = string & { readonly [alarmIdBrand]: true };

/** The form of a name; whether there is such an alarm is another matter. */
export const ALARM_ID = /^[A-Za-z0-9._-]{1,64}:[1-9][0-9]{0,15}$/;

/**
 * Checks a name.
 * @param where the field that it came from, for the message
 * @throws DuoveilError `MESSAGE_INVALID`
 */
export function parseAlarmId(text: string, where: string): AlarmId {
  if (ALARM_ID.test(text)) return text as AlarmId;
  // The text itself is left out: it may be anything.
  const message = `${where} must be the name of an alarm, <patient>:<number>`;
  throw duoveilError('MESSAGE_INVALID', message, { field: where });
}

/**
 * What an alarm is about.
 *
 * - `level`: of the last samples, too many reached a level;
 * - `gap`: the device measured nothing for a time, as the times of its samples say;
 * - `silence`: no sample has come in for a time.
 */
export type AlarmCause =
  | { readonly kind: 'level'; readonly rule: LevelRule }
  | { readonly kind: 'gap'; readonly from: Date; readonly to: Date }
  | { readonly kind: 'silence'; readonly since: Date };

/** Raise an alarm when at least `count` of the last `of` scored samples have `level` or more. */
export interface LevelRule {
  /** From 1. */
  readonly level: number;
  /** From 1 to `of`. */
  readonly count: number;
  /** Scored samples that are looked at; at most 4,096. */
  readonly of: number;
}

/** Who did something, and when. */
export interface Act {
  /** An operator's name, as the certificate or the sign-in says; at most 128 characters. */
  readonly by: string;
  readonly at: Date;
}

/**
 * One alarm of one patient. Its state is the product of two: ACTIVE until `clearedAt` is set, then
 * CLEARED; UNACKNOWLEDGED until `acknowledged` is set, then ACKNOWLEDGED.
 */
export interface Alarm {
  readonly id: AlarmId;
  readonly patient: PatientId;
  readonly cause: AlarmCause;
  /** After which sample it was raised; 0 before the first. */
  readonly sequence: number;
  readonly raisedAt: Date;
  /** When what it is about was over. */
  readonly clearedAt: Date | undefined;
  readonly acknowledged: Act | undefined;
  /** When it had been active and unacknowledged for too long. */
  readonly escalatedAt: Date | undefined;
  /**
   * Raised while the patient's alarms were suppressed: it is kept, but nobody is told. One that is
   * active when the suppression ends is not suppressed any longer.
   */
  readonly suppressed: boolean;
}

/** A patient's alarms are kept quiet for a time; it always has an end. */
export interface Suppression extends Act {
  readonly until: Date;
  /** Why, in an operator's words; at most 200 characters. */
  readonly reason: string;
}

/** When alarms are raised; the same for all patients of a service provider. */
export interface AlarmPolicy {
  /** At least one, at most 8, of ascending levels. */
  readonly levels: readonly LevelRule[];
  /** An alarm that has been active and unacknowledged for this long escalates, in milliseconds. */
  readonly escalateAfterMs: number;
  /** A time between two samples that is a gap, in milliseconds. */
  readonly gapAfterMs: number;
  /** A time without a sample after which a device is silent, in milliseconds. */
  readonly silentAfterMs: number;
  /**
   * Learn a baseline anew once a level alarm has been active for this many samples; undefined for
   * never, but by an operator's command.
   */
  readonly rebaselineAfter: number | undefined;
}
