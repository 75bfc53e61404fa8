/** HL7 FHIR R4 and R5 `Observation` resources of vital signs, as readings of channels. */
import type { Channel } from '@duoveil/common/encoding';
import { z } from 'zod';

import type { Reading } from './row-assembler.js';
import { parseMoment } from './times.js';
import { isSameUnit } from './units.js';

/** What a resource tells. */
export interface Observed {
  /** Of the channels that are monitored; none where it tells nothing of them. */
  readonly readings: readonly Reading[];
  /** Why it tells nothing, where it would otherwise. */
  readonly skipped?: string;
  /** Whose it is, as it is referred to there; it is compared and never shown. */
  readonly subject?: string;
}

/** A resource that is none of those that are read here. The message says what, and repeats no reading. */
export class RefusedResource extends Error {
  override readonly name = 'RefusedResource';
}

const LOINC = 'http://loinc.org';
const UCUM = 'http://unitsofmeasure.org';
const CATEGORY = 'http://terminology.hl7.org/CodeSystem/observation-category';

/** The codes of FHIR's vital signs profiles. */
const VITAL_SIGNS: ReadonlySet<string> = new Set([
  ...['85353-1', '9279-1', '8867-4', '2708-6', '59408-5', '8310-5', '8302-2', '9843-4'],
  ...['29463-7', '39156-5', '85354-9', '8480-6', '8462-4', '8478-0'],
]);

/**
 * FHIR's profile gives every oxygen saturation the code 2708-6, and the method's beside it at best. As a
 * vital sign it is the pulse oximeter's; a laboratory's has another category.
 */
const AS_VITAL_SIGN: Readonly<Record<string, string>> = { '59408-5': '2708-6' };

const MOST = 64;
const coding = z.looseObject({ system: z.string().optional(), code: z.string().optional() });
const concept = z.looseObject({ coding: z.array(coding).max(MOST).optional() });
const measured = {
  code: concept,
  valueQuantity: z
    .looseObject({
      value: z.number().optional(),
      comparator: z.string().optional(),
      unit: z.string().optional(),
      system: z.string().optional(),
      code: z.string().optional(),
    })
    .optional(),
  dataAbsentReason: concept.optional(),
};
const observation = z.looseObject({
  resourceType: z.literal('Observation'),
  status: z.string(),
  category: z.array(concept).max(MOST).optional(),
  subject: z.looseObject({ reference: z.string().optional() }).optional(),
  effectiveDateTime: z.string().optional(),
  effectiveInstant: z.string().optional(),
  ...measured,
  component: z.array(z.looseObject(measured)).max(MOST).optional(),
});
type Observation = z.output<typeof observation>;
type Measured = z.output<z.ZodObject<typeof measured>>;
type Concept = z.output<typeof concept>;

/** The part of a channel that readings are found by. */
export type CodedChannel = Pick<Channel, 'name' | 'unit' | 'loinc'>;

/** Statuses with a result that counts; the others, and why they do not. */
const COUNTS: ReadonlySet<string> = new Set(['preliminary', 'final', 'amended', 'corrected']);
const DOES_NOT_COUNT: ReadonlySet<string> = new Set([
  ...['registered', 'cancelled', 'entered-in-error', 'unknown'],
]);

/**
 * Reads a resource.
 * @throws RefusedResource where it is no Observation, no vital sign, or one that is not as it should be
 */
export function readObservation(resource: unknown, channels: readonly CodedChannel[]): Observed {
  const parsed = parse(resource);
  const codes = loincCodes(parsed.code);
  const isVital = hasCode(parsed.category, CATEGORY, 'vital-signs');
  const finds = (channel: CodedChannel, of: Concept): boolean => {
    const other = isVital ? AS_VITAL_SIGN[channel.loinc] : undefined;
    return loincCodes(of).some((code) => code === channel.loinc || code === other);
  };
  const known = codes.some((code) => VITAL_SIGNS.has(code));
  if (!isVital && !known && !channels.some((channel) => finds(channel, parsed.code))) {
    throw new RefusedResource(notVital(codes, channels));
  }
  const subject = parsed.subject?.reference;
  const about = subject === undefined ? {} : { subject };
  if (!COUNTS.has(parsed.status)) return { ...about, readings: [], skipped: refuseStatus(parsed) };
  const parts: readonly (readonly [Measured, string])[] = [
    [parsed, ''],
    ...(parsed.component ?? []).map((part, i) => [part, `component[${i}].`] as const),
  ];
  const found = parts.flatMap(([part, where]) =>
    channels
      .filter((channel) => channel.loinc !== '' && finds(channel, part.code))
      .map((channel) => ({ channel: channel.name, value: valueOf(part, channel, where) })),
  );
  if (found.length === 0) return { ...about, readings: [] };
  const at = timeOf(parsed);
  return { ...about, readings: found.map((one) => ({ ...one, at, measured: true })) };
}

function parse(resource: unknown): Observation {
  const type = z.looseObject({ resourceType: z.string() }).safeParse(resource);
  if (!type.success) throw new RefusedResource('is no FHIR resource: it has no resourceType');
  if (type.data.resourceType !== 'Observation') {
    const name = /^[A-Za-z]{1,40}$/.exec(type.data.resourceType)?.[0] ?? 'something else';
    throw new RefusedResource(`must be an Observation, not ${name}`);
  }
  const result = observation.safeParse(resource);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = issue?.path.map(String).join('.') ?? '';
  throw new RefusedResource(`${path}: ${issue?.message ?? 'is not valid'}`);
}

function loincCodes(of: Concept): string[] {
  return (of.coding ?? []).flatMap(({ system, code }) =>
    system === LOINC && code !== undefined ? [code] : [],
  );
}

function hasCode(concepts: readonly Concept[] | undefined, system: string, code: string): boolean {
  return (concepts ?? []).some(({ coding: all = [] }) =>
    all.some((one) => one.system === system && one.code === code),
  );
}

function notVital(codes: readonly string[], channels: readonly CodedChannel[]): string {
  const [code] = codes.filter((one) => /^\d{1,8}-\d$/.test(one));
  const what = code === undefined ? 'has no LOINC code' : `has the LOINC code ${code}`;
  const wanted = channels
    .filter(({ loinc }) => loinc !== '')
    .map(({ name, loinc }) => `${name} ${loinc}`);
  const monitored = wanted.length === 0 ? 'no channel has a LOINC code' : wanted.join(', ');
  return (
    `code: ${what} and not the category vital-signs: it is no vital sign ` +
    `(monitored here: ${monitored})`
  );
}

function refuseStatus({ status }: Observation): string {
  if (DOES_NOT_COUNT.has(status)) return `status: is ${status}`;
  throw new RefusedResource('status: is none of the standard');
}

function timeOf({ effectiveDateTime, effectiveInstant }: Observation): number {
  const at = parseMoment(effectiveInstant ?? effectiveDateTime);
  if (at !== undefined) return at;
  throw new RefusedResource(
    'effectiveDateTime or effectiveInstant: is needed, as a date and time with a time zone',
  );
}

/** The value as text; undefined where there is none that can be taken at its word. */
function valueOf(part: Measured, channel: CodedChannel, where: string): string | undefined {
  const { valueQuantity: quantity, dataAbsentReason } = part;
  if (quantity === undefined) {
    if (dataAbsentReason !== undefined) return undefined;
    throw new RefusedResource(`${where}valueQuantity: is needed, or a dataAbsentReason`);
  }
  const { value, comparator, unit = '', system, code } = quantity;
  const stated = system === UCUM && code !== undefined ? code : unit;
  if (stated === '') {
    throw new RefusedResource(`${where}valueQuantity: needs a unit, as a code of UCUM`);
  }
  if (!isSameUnit(channel.unit, stated)) {
    throw new RefusedResource(
      `${where}valueQuantity: has a unit that is not that of ${channel.name}, ${channel.unit}`,
    );
  }
  // "Less than 70" is no reading.
  return comparator === undefined && value !== undefined ? String(value) : undefined;
}
