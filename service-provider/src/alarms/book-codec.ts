import { duoveilError } from '@duoveil/common/errors';
import type { PatientId } from '@duoveil/common/runtime';
import { z } from 'zod';

import type { Alarm, AlarmCause, AlarmId } from './alarm.js';
import { alarmId, alarmNumber, type AlarmBook } from './book.js';
import type { AlarmState } from './telling.js';

/** A book as bytes is as long as the next multiple of this: its length does not tell what is in it. */
export const BOOK_STEP_BYTES = 16_384;

const LENGTH_BYTES = 4;
const VERSION = 1;

/** Milliseconds since 1970. */
const moment = z.int().transform((ms) => new Date(ms));
const act = z.tuple([z.string(), moment]);
const cause = z.union([
  z.tuple([z.literal('level'), z.int(), z.int(), z.int()]),
  z.tuple([z.literal('gap'), moment, moment]),
  z.tuple([z.literal('silence'), moment]),
]);
/** Number, cause, sequence, raised, cleared, acknowledged, escalated, suppressed. */
const alarm = z.tuple([
  ...[z.int(), cause, z.int(), moment, moment.nullable(), act.nullable(), moment.nullable()],
  z.boolean(),
] as const);
/** States are numbers in the store: their places in here. */
const STATES: readonly AlarmState[] = [
  ...(['active-unacknowledged', 'active-acknowledged', 'active-escalated'] as const),
  ...(['cleared-unacknowledged', 'cleared-acknowledged', 'cleared-escalated'] as const),
];
const state = z
  .int()
  .min(0)
  .max(STATES.length - 1);
const bookSchema = z.strictObject({
  version: z.literal(VERSION),
  next: z.int(),
  alarms: z.array(alarm),
  /** By whom, when, until when, why. */
  suppression: z.tuple([...act.def.items, moment, z.string()]).nullable(),
  /** After which sample, why, by whom, when. */
  relearning: z
    .tuple([z.int().nullable(), z.enum(['policy', 'operator']), z.string().nullable(), moment])
    .nullable(),
  /** Numbers of alarms and states. */
  told: z.array(z.tuple([z.int(), state])).nullable(),
});

/** A book as bytes, padded; the inverse is {@link decodeBook}. */
export function encodeBook(book: AlarmBook): Buffer {
  const { suppression, relearning } = book;
  const content: z.input<typeof bookSchema> = {
    version: VERSION,
    next: book.next,
    alarms: book.alarms.map(encodeAlarm),
    suppression: suppression
      ? [suppression.by, ms(suppression.at), ms(suppression.until), suppression.reason]
      : null,
    relearning: relearning
      ? [relearning.after ?? null, relearning.reason, relearning.by ?? null, ms(relearning.at)]
      : null,
    told: book.told
      ? [...book.told].map(([id, last]) => [alarmNumber(id), STATES.indexOf(last)])
      : null,
  };
  const json = Buffer.from(JSON.stringify(content), 'utf8');
  const steps = Math.ceil((LENGTH_BYTES + json.length) / BOOK_STEP_BYTES);
  const bytes = Buffer.alloc(steps * BOOK_STEP_BYTES);
  bytes.writeUInt32BE(json.length, 0);
  json.copy(bytes, LENGTH_BYTES);
  return bytes;
}

/** @throws DuoveilError `STORAGE_FAILED` where it cannot be one */
export function decodeBook(bytes: Buffer, patient: PatientId): AlarmBook {
  const length = bytes.length < LENGTH_BYTES ? 0 : bytes.readUInt32BE(0);
  const content = bookSchema.safeParse(
    parsed(bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + length).toString('utf8')),
  );
  if (!content.success) {
    throw duoveilError('STORAGE_FAILED', 'the store holds a book of alarms of an unknown form');
  }
  const { next, alarms, suppression, relearning, told } = content.data;
  return {
    next,
    alarms: alarms.map((one) => decodeAlarm(one, patient)),
    suppression: suppression
      ? { by: suppression[0], at: suppression[1], until: suppression[2], reason: suppression[3] }
      : undefined,
    relearning: relearning
      ? {
          after: relearning[0] ?? undefined,
          reason: relearning[1],
          by: relearning[2] ?? undefined,
          at: relearning[3],
        }
      : undefined,
    told: told
      ? new Map(told.flatMap(([number, last]) => toldEntry(alarmId(patient, number), last)))
      : undefined,
  };
}

function toldEntry(id: AlarmId, last: number): [AlarmId, AlarmState][] {
  const known = STATES[last];
  return known === undefined ? [] : [[id, known]];
}

function encodeAlarm(one: Alarm): z.input<typeof alarm> {
  const { acknowledged, clearedAt, escalatedAt } = one;
  return [
    alarmNumber(one.id),
    encodeCause(one.cause),
    one.sequence,
    ms(one.raisedAt),
    clearedAt ? ms(clearedAt) : null,
    acknowledged ? [acknowledged.by, ms(acknowledged.at)] : null,
    escalatedAt ? ms(escalatedAt) : null,
    one.suppressed,
  ];
}

function decodeAlarm(
  [number, why, sequence, raisedAt, clearedAt, act, escalatedAt, isSuppressed]: z.output<
    typeof alarm
  >,
  patient: PatientId,
): Alarm {
  return {
    id: alarmId(patient, number),
    patient,
    cause: decodeCause(why),
    sequence,
    raisedAt,
    clearedAt: clearedAt ?? undefined,
    acknowledged: act ? { by: act[0], at: act[1] } : undefined,
    escalatedAt: escalatedAt ?? undefined,
    suppressed: isSuppressed,
  };
}

function encodeCause(one: AlarmCause): z.input<typeof cause> {
  switch (one.kind) {
    case 'level':
      return ['level', one.rule.level, one.rule.count, one.rule.of];
    case 'gap':
      return ['gap', ms(one.from), ms(one.to)];
    case 'silence':
      return ['silence', ms(one.since)];
  }
}

function decodeCause(one: z.output<typeof cause>): AlarmCause {
  switch (one[0]) {
    case 'level':
      return { kind: 'level', rule: { level: one[1], count: one[2], of: one[3] } };
    case 'gap':
      return { kind: 'gap', from: one[1], to: one[2] };
    case 'silence':
      return { kind: 'silence', since: one[1] };
  }
}

function ms(date: Date): number {
  return date.getTime();
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
