/** The tables of `docs/alarms.md`: how rare alarms are on calm recordings, and how soon one comes. */
import { readRecording, type Recording } from '@duoveil/harness/recordings';
import { simulate } from '@duoveil/harness/simulation';
import {
  alarmPolicy,
  DEFAULT_ALARM_RULES,
  parseAlarmRules,
} from '@duoveil/service-provider/alarms';

import { replacedBetween, table } from '../markdown.js';
import { alarmed, levelsOf, type Alarmed, type Learning, type LeveledRow } from './replayed.js';

/** Between these the tables stand. */
export const MARKERS = { begin: '<!-- alarms:begin -->', end: '<!-- alarms:end -->' } as const;

/** Rules to compare: quicker ones, the default, and slower ones. */
const RULES = ['1:20/30,3:5/10', DEFAULT_ALARM_RULES, '1:100/120,3:50/60'] as const;

const LEARNINGS: readonly Learning[] = [
  { baseline: 'fixed', window: 60 },
  { baseline: 'rolling', window: 60 },
  { baseline: 'fixed', window: 20 },
  { baseline: 'rolling', window: 20 },
];

/** Simulated patients who deteriorate. */
const SEEDS = Array.from({ length: 20 }, (_, seed) => seed);
const ROWS = 600;

/** The document with its tables made anew. @throws RangeError where it has no markers */
export function docsWith(document: string, recordings: readonly Recording[]): string {
  return replacedBetween(document, MARKERS, tables(recordings));
}

function tables(recordings: readonly Recording[]): string {
  const rows = recordings.map((recording) => readRecording(recording));
  const leveled = LEARNINGS.map((learning) => ({
    learning,
    recordings: rows.map((one) => levelsOf(one, learning)),
  }));
  return [...comparison(leveled), '', ...each(recordings, leveled)].join('\n');
}

interface Leveled {
  readonly learning: Learning;
  readonly recordings: readonly (readonly LeveledRow[])[];
}

function comparison(leveled: readonly Leveled[]): string[] {
  const heading = [
    ...['rules', 'baseline', 'flagged', 'alarm time', 'alarms an hour', 'recordings with alarms'],
    ...['deterioration: median', 'longest'],
  ];
  const rows = RULES.flatMap((rules) =>
    leveled.map(({ learning, recordings }) => {
      const found = recordings.map((one) => judged(one, rules));
      const delays = SEEDS.map((seed) => delay(seed, learning, rules)).sort((a, b) => a - b);
      return [
        ...[`\`${rules}\``, nameOf(learning), flaggedShare(found), activeShare(found)],
        hourly(found),
        String(found.filter(({ raised }) => raised.length > 0).length),
        ...[delays[Math.floor(delays.length / 2)], delays.at(-1)].map((s) => `${String(s)} s`),
      ];
    }),
  );
  return table(heading, rows);
}

function each(recordings: readonly Recording[], leveled: readonly Leveled[]): string[] {
  const heading = leveled.flatMap(({ learning }) => [`${nameOf(learning)}: flagged`, 'alarm time']);
  const found = leveled.map((one) =>
    one.recordings.map((rows) => judged(rows, DEFAULT_ALARM_RULES)),
  );
  const line = (of: (column: readonly Alarmed[]) => readonly Alarmed[]): string[] =>
    found.map(of).flatMap((some) => [flaggedShare(some), activeShare(some)]);
  return table(
    ['recording', ...heading],
    [
      ...recordings.map(({ id }, i) => [id, ...line((column) => column.slice(i, i + 1))]),
      ['all', ...line((column) => column)],
    ],
  );
}

function judged(rows: readonly LeveledRow[], rules: string): Alarmed {
  return alarmed(rows, alarmPolicy({ levels: parseAlarmRules(rules) ?? [] }));
}

/** From the first row at which a simulated patient deteriorates to the first alarm, in rows, of a second each. */
function delay(seed: number, learning: Learning, rules: string): number {
  const { rows, truth } = simulate({ seed, rows: ROWS, scenario: 'deterioration' });
  const begin = truth.indexOf('event');
  const { raised } = judged(levelsOf(rows, learning), rules);
  const [first = Infinity] = raised;
  if (first < begin) throw new Error(`a false alarm of a simulated patient, seed ${String(seed)}`);
  return first - begin;
}

function nameOf({ baseline, window }: Learning): string {
  return `${baseline} ${String(window)}`;
}

function flaggedShare(some: readonly Alarmed[]): string {
  return share(
    sum(some, ({ flagged }) => flagged),
    some,
  );
}

function activeShare(some: readonly Alarmed[]): string {
  return share(
    sum(some, ({ active }) => active),
    some,
  );
}

function share(count: number, some: readonly Alarmed[]): string {
  return `${((100 * count) / sum(some, ({ scored }) => scored)).toFixed(1)} %`;
}

function hourly(some: readonly Alarmed[]): string {
  const hours = sum(some, ({ scored }) => scored) / 3600;
  return (sum(some, ({ raised }) => raised.length) / hours).toFixed(1);
}

function sum(some: readonly Alarmed[], of: (one: Alarmed) => number): number {
  return some.reduce((total, one) => total + of(one), 0);
}
