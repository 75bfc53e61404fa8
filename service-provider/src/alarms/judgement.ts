/** Which alarms a decision raises and clears: pure, so that it is the same wherever it is computed. */
import type { PatientId } from '@duoveil/common/runtime';

import type { Alarm, AlarmCause, AlarmPolicy, LevelRule } from './alarm.js';
import { cleared, isActive, raised, relearning } from './book.js';
import type { AlarmBook, BookChange } from './book.js';

/** What a decision on a sample says about alarms. */
export interface Finding {
  readonly patient: PatientId;
  readonly sequence: number;
  /** For each of the policy's rules, how many of the last samples reached its level. */
  readonly counts: readonly number[];
  /** When the sample was measured and the one before was, where both are known. */
  readonly measured: { readonly before: Date; readonly at: Date } | undefined;
  /** When it was found. */
  readonly at: Date;
}

/**
 * What becomes of a patient's book.
 * @returns undefined for nothing, as for nearly all samples. What it depends on is changed by whoever
 * watches the patient alone, so it holds for whatever operators have made of the book meanwhile.
 */
export function judge(
  book: AlarmBook,
  policy: AlarmPolicy,
  finding: Finding,
): BookChange | undefined {
  const { patient, sequence, counts, at } = finding;
  const active = book.alarms.filter(isActive);
  const holding = policy.levels.filter((rule, i) => (counts[i] ?? 0) >= rule.count);
  const over = (alarm: Alarm): boolean =>
    alarm.cause.kind === 'level' && !holding.some((rule) => isOf(alarm, rule));
  const causes: AlarmCause[] = [
    ...holding
      .filter((rule) => !active.some((alarm) => isOf(alarm, rule)))
      .map((rule) => ({ kind: 'level', rule }) as const),
    ...gapOf(finding, policy),
  ];
  const anew = active.some((alarm) => !over(alarm) && hasLasted(alarm, policy, sequence));
  if (causes.length === 0 && !anew && !active.some(over)) return undefined;
  return (current) => {
    let next = cleared(current, over, at);
    for (const cause of causes) next = raised(next, { patient, cause, sequence, at });
    // Who asked for it already is asked no further.
    if (!anew || isAsked(next, sequence)) return next;
    return relearning(next, { after: sequence, reason: 'policy', by: undefined, at });
  };
}

function isOf({ cause }: Alarm, { level, count, of }: LevelRule): boolean {
  if (cause.kind !== 'level') return false;
  const { rule } = cause;
  return rule.level === level && rule.count === count && rule.of === of;
}

function gapOf({ measured }: Finding, { gapAfterMs }: AlarmPolicy): AlarmCause[] {
  if (measured === undefined) return [];
  const { before, at } = measured;
  const ms = at.getTime() - before.getTime();
  return ms > gapAfterMs ? [{ kind: 'gap', from: before, to: at }] : [];
}

function hasLasted(alarm: Alarm, { rebaselineAfter }: AlarmPolicy, sequence: number): boolean {
  if (rebaselineAfter === undefined || alarm.cause.kind !== 'level') return false;
  return sequence - alarm.sequence >= rebaselineAfter;
}

/** Is it going to be learnt anew from here on already? */
function isAsked({ relearning: asked }: AlarmBook, sequence: number): boolean {
  return asked !== undefined && (asked.after ?? Infinity) >= sequence;
}
