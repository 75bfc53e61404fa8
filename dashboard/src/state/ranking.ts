/** Orders of the fleet's rows. */
import type { Alarm, PatientSummary } from '../api/types.js';

/** What rows can be ordered by. */
export const SORT_KEYS = ['urgency', 'patient', 'level', 'lastSeen', 'alarms'] as const;

/** See {@link SORT_KEYS}. */
export type SortKey = (typeof SORT_KEYS)[number];

/** An order of rows. */
export interface Order {
  readonly key: SortKey;
  readonly descending: boolean;
}

/** Who needs somebody first. */
export const WORST_FIRST: Order = { key: 'urgency', descending: true };

/** The patients whose pseudonym has the words, in an order; ties by pseudonym. */
export function arrange(
  patients: Iterable<PatientSummary>,
  search: string,
  { key, descending }: Order,
): PatientSummary[] {
  const wanted = search.trim().toLowerCase();
  const found = [...patients].filter(({ patient }) => patient.toLowerCase().includes(wanted));
  if (key === 'patient') {
    return found.sort((a, b) => byName(a, b) * (descending ? -1 : 1));
  }
  const measure = MEASURES[key];
  const ranked = found.map((summary) => ({ summary, rank: measure(summary) }));
  ranked.sort((a, b) => {
    const difference = descending ? b.rank - a.rank : a.rank - b.rank;
    return difference === 0 ? byName(a.summary, b.summary) : difference;
  });
  return ranked.map(({ summary }) => summary);
}

const MEASURES: Readonly<Record<Exclude<SortKey, 'patient'>, (s: PatientSummary) => number>> = {
  urgency,
  level: (summary) => levelNow(summary) ?? -1,
  lastSeen: ({ lastSeen }) => (lastSeen === undefined ? 0 : Date.parse(lastSeen)),
  alarms: alarmUrgency,
};

/** The level of the last sample; undefined where that has none. */
export function levelNow({ recent }: PatientSummary): number | undefined {
  const level = recent.at(-1)?.[2];
  return level === undefined || level < 0 ? undefined : level;
}

/** How many of a patient's alarms nobody has acknowledged. */
export function unacknowledged(alarms: readonly Alarm[]): Alarm[] {
  return alarms.filter(({ acknowledged }) => acknowledged === undefined);
}

/** Alarms first; among equals, whose recent samples had the higher levels. Below 1,000 without alarms. */
function urgency(summary: PatientSummary): number {
  const scored = summary.recent.filter(([, , level]) => level >= 0);
  const sum = scored.reduce((total, [, , level]) => total + level, 0);
  const burden = scored.length === 0 ? 0 : sum / (scored.length * summary.highestLevel);
  return alarmUrgency(summary) * 1_000 + Math.round(burden * 100);
}

function alarmUrgency({ alarms, highestLevel }: PatientSummary): number {
  return Math.max(0, ...alarms.map((alarm) => urgencyOf(alarm, highestLevel)));
}

/** A patient's alarms, the most urgent first. */
export function mostUrgentFirst({ alarms, highestLevel }: PatientSummary): Alarm[] {
  return [...alarms].sort((a, b) => urgencyOf(b, highestLevel) - urgencyOf(a, highestLevel));
}

/** Active before cleared, unacknowledged before acknowledged, levels before devices. */
function urgencyOf(alarm: Alarm, highestLevel: number): number {
  const active = alarm.clearedAt === undefined;
  const open = alarm.acknowledged === undefined;
  const state = active ? (open ? 30 : 20) : open ? 10 : 0;
  return state + (alarm.rule === undefined ? 1 : 2 + (7 * alarm.rule.level) / highestLevel);
}

function byName(a: PatientSummary, b: PatientSummary): number {
  return COLLATOR.compare(a.patient, b.patient);
}

/** `ward-9` comes before `ward-10`. */
const COLLATOR = new Intl.Collator('en', { numeric: true });
