import { MAX_LEVEL } from '@duoveil/common/encoding';

import type { AlarmPolicy, LevelRule } from './alarm.js';

/** Rules unless told otherwise; docs/alarms.md has what they were chosen by. */
export const DEFAULT_ALARM_RULES = '1:45/60,3:20/30';

/** Scored samples that a rule may look back on at most. */
export const MAX_RULE_SAMPLES = 4_096;

/** The most rules there can be. */
export const MAX_RULES = 8;

const PATTERN = /^(\d{1,2}):(\d{1,4})\/(\d{1,4})$/;

/**
 * Rules as text, `level:count/of` and so on, as in `1:20/30,3:5/10`: of the last 30 scored samples 20
 * or more at level 1 or above, and of the last 10 as many as 5 at level 3.
 * @returns undefined where it is none: a level out of range or twice, not ascending, a count above `of`
 */
export function parseAlarmRules(text: string): readonly LevelRule[] | undefined {
  const rules = text.split(',').map(parseRule);
  if (rules.length > MAX_RULES) return undefined;
  const parsed = rules.filter((rule) => rule !== undefined);
  if (parsed.length < rules.length) return undefined;
  const ascending = parsed.every(({ level }, i) => level > (parsed[i - 1]?.level ?? 0));
  return ascending ? parsed : undefined;
}

function parseRule(text: string): LevelRule | undefined {
  const [level = 0, count = 0, of = 0] = (PATTERN.exec(text.trim()) ?? []).slice(1).map(Number);
  const fits = level >= 1 && level <= MAX_LEVEL && count >= 1 && count <= of;
  return fits && of <= MAX_RULE_SAMPLES ? { level, count, of } : undefined;
}

/** The policy with all defaults, with changes. */
export function alarmPolicy(changes: Partial<AlarmPolicy> = {}): AlarmPolicy {
  return {
    levels: parseAlarmRules(DEFAULT_ALARM_RULES) ?? [],
    escalateAfterMs: 300_000,
    gapAfterMs: 30_000,
    silentAfterMs: 60_000,
    rebaselineAfter: undefined,
    ...changes,
  };
}
