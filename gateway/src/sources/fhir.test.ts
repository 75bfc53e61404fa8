import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';

import { selectChannels } from '@duoveil/common/encoding';
import { isDuoveilError } from '@duoveil/common/errors';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { readObservation, RefusedResource } from './fhir-observation.js';
import { fhirFileSource, fhirLinesSource } from './fhir.js';
import { fileInput } from './inputs.js';
import type { Source, SourceRow } from './source.js';

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-fhir-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

const channels = selectChannels(['HR', 'RESP', 'SpO2']).channels;
const options = { channels, withinMs: 500 };
const AT = Date.UTC(2026, 4, 4, 10, 44, 18);

type Json = Readonly<Record<string, unknown>>;

const loinc = (...codes: string[]): Json => ({
  coding: codes.map((code) => ({ system: 'http://loinc.org', code, display: 'as it is called' })),
});
const quantity = (value: number, code: string, unit: string): Json => ({
  value,
  unit,
  system: 'http://unitsofmeasure.org',
  code,
});
const VITAL = [
  {
    coding: [
      {
        system: 'http://terminology.hl7.org/CodeSystem/observation-category',
        code: 'vital-signs',
        display: 'Vital Signs',
      },
    ],
    text: 'Vital Signs',
  },
];

/** In the shape of the standard's own examples. */
const observed = (seconds = 0): Json => ({
  resourceType: 'Observation',
  meta: { profile: ['http://hl7.org/fhir/StructureDefinition/vitalsigns'] },
  text: { status: 'generated', div: '<div xmlns="http://www.w3.org/1999/xhtml">..</div>' },
  status: 'final',
  category: VITAL,
  subject: { reference: 'Patient/example' },
  effectiveDateTime: new Date(AT + 1000 * seconds).toISOString(),
});
const heartRate = (value = 44, seconds = 0): Json => ({
  ...observed(seconds),
  id: 'heart-rate',
  code: { ...loinc('8867-4'), text: 'Heart rate' },
  valueQuantity: quantity(value, '/min', 'beats/minute'),
});
const respiratoryRate = (value = 26): Json => ({
  ...observed(),
  id: 'respiratory-rate',
  code: loinc('9279-1'),
  valueQuantity: quantity(value, '/min', 'breaths/minute'),
});
const saturation = (value = 95): Json => ({
  ...observed(),
  id: 'satO2',
  identifier: [{ system: 'http://goodcare.example/observation/id', value: 'o1223435-10' }],
  code: {
    coding: [
      { system: 'http://loinc.org', code: '2708-6' },
      { system: 'http://loinc.org', code: '59408-5' },
      { system: 'urn:iso:std:iso:11073:10101', code: '150456' },
    ],
  },
  valueQuantity: quantity(value, '%', '%'),
  device: { reference: 'DeviceMetric/example' },
  referenceRange: [{ low: quantity(90, '%', '%'), high: quantity(99, '%', '%') }],
});
const panel = (...component: Json[]): Json => ({
  ...observed(),
  id: 'vitals-panel',
  code: loinc('85353-1'),
  component,
});
const bundle = (...resources: unknown[]): Json => ({
  resourceType: 'Bundle',
  type: 'searchset',
  entry: resources.map((resource) => ({ fullUrl: 'urn:uuid:1', resource })),
});
const without = (resource: Json, key: string): Json =>
  Object.fromEntries(Object.entries(resource).filter(([name]) => name !== key));

async function rowsOf(source: Source): Promise<SourceRow[]> {
  const rows: SourceRow[] = [];
  for await (const row of source) rows.push(row);
  return rows;
}

async function readFile(content: unknown): Promise<SourceRow[]> {
  const path = join(directory, 'vitals.json');
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return rowsOf(fhirFileSource(path, options));
}

async function readLines(...resources: unknown[]): Promise<SourceRow[]> {
  const path = join(directory, 'vitals.ndjson');
  const lines = resources.map((one) => (typeof one === 'string' ? one : JSON.stringify(one)));
  await writeFile(path, lines.join('\n'));
  return rowsOf(fhirLinesSource(fileInput(path), options));
}

async function refusal(content: unknown): Promise<string> {
  try {
    await readFile(content);
  } catch (error) {
    if (!isDuoveilError(error, 'INPUT_INVALID')) throw error;
    return error.message.slice(error.details.source.length + 2);
  }
  throw new Error('the input was accepted');
}

const at = (seconds: number) => ({
  measuredAt: AT + 1000 * seconds,
  seconds: AT / 1000 + seconds,
});

describe('a file with a resource', () => {
  it('is a Bundle: readings by LOINC code, in the order of their times', async () => {
    const content = bundle(
      heartRate(45, 1),
      saturation(),
      {
        ...heartRate(),
        effectiveDateTime: undefined,
        effectiveInstant: '2026-05-04T12:44:18+02:00',
      },
      respiratoryRate(),
    );
    expect(await readFile(content)).toEqual([
      { index: 0, cells: { SpO2: '95', HR: '44', RESP: '26' }, ...at(0) },
      { index: 1, cells: { HR: '45' }, ...at(1) },
    ]);
  });

  it('is one Observation, or a panel with components', async () => {
    expect(await readFile(heartRate())).toEqual([{ index: 0, cells: { HR: '44' }, ...at(0) }]);
    const components = panel(
      { code: loinc('8867-4'), valueQuantity: quantity(80, '/min', 'bpm') },
      { code: loinc('9279-1'), dataAbsentReason: { coding: [{ code: 'not-performed' }] } },
      { code: loinc('59408-5'), valueQuantity: quantity(97.5, '%', '%') },
      { code: loinc('8310-5'), valueQuantity: quantity(36.5, 'Cel', 'C') },
    );
    expect(await readFile(components)).toEqual([
      { index: 0, cells: { HR: '80', RESP: undefined, SpO2: '97.5' }, ...at(0) },
    ]);
  });

  it('leaves out what is not monitored, and what a search adds', async () => {
    const temperature = {
      ...observed(),
      code: loinc('8310-5'),
      valueQuantity: quantity(36, 'Cel', 'C'),
    };
    const search = bundle(temperature, heartRate()) as { entry: Json[] };
    const added = [
      {
        resource: { resourceType: 'Patient', name: [{ family: 'Somebody' }] },
        search: { mode: 'include' },
      },
      { resource: { resourceType: 'OperationOutcome' }, search: { mode: 'outcome' } },
    ];
    const rows = await readFile({ ...search, entry: [...added, ...search.entry] });
    expect(rows.map(({ cells }) => cells)).toEqual([{ HR: '44' }]);
  });

  it('takes an oxygen saturation without a method for the oximeter’s where it is a vital sign', async () => {
    const plain = { ...saturation(), code: loinc('2708-6') };
    expect((await readFile(plain))[0]?.cells).toEqual({ SpO2: '95' });
    const laboratory = { ...plain, category: [{ coding: [{ system: 'x', code: 'laboratory' }] }] };
    expect(await refusal(laboratory)).toBe('has no reading of a channel that is monitored');
  });

  it('says which Observations do not count', async () => {
    const rows = await readFile(
      bundle(
        { ...heartRate(), status: 'entered-in-error' },
        { ...heartRate(), status: 'amended' },
        { ...heartRate(50, 1), status: 'cancelled' },
      ),
    );
    expect(rows.map(({ problem, cells }) => problem ?? cells)).toEqual([
      'entry[0]: status: is entered-in-error',
      'entry[2]: status: is cancelled',
      { HR: '44' },
    ]);
  });

  it('has no reading where a value is only bounded or said to be absent', async () => {
    const below = {
      ...saturation(),
      valueQuantity: { ...quantity(70, '%', '%'), comparator: '<' },
    };
    const absent = {
      ...without(heartRate(), 'valueQuantity'),
      dataAbsentReason: { text: 'asleep' },
    };
    const [row] = await readFile(bundle(below, absent));
    expect(row?.cells).toEqual({ SpO2: undefined, HR: undefined });
  });

  it.each<[string, unknown, string | RegExp]>([
    ['no JSON', '{"resourceType": "Observation", 44321', 'is not JSON'],
    ['no resource', { a: 1 }, 'is no FHIR resource: it has no resourceType'],
    ['a list', [heartRate()], 'is no FHIR resource: it has no resourceType'],
    ['another resource', { resourceType: 'Patient' }, 'must be an Observation, not Patient'],
    [
      'what is no vital sign',
      bundle(heartRate(), { ...without(heartRate(), 'category'), code: loinc('2339-0') }),
      'entry[1]: code: has the LOINC code 2339-0 and not the category vital-signs: it is no vital sign ' +
        '(monitored here: HR 8867-4, RESP 9279-1, SpO2 59408-5)',
    ],
    [
      'a code of another system',
      { ...without(heartRate(), 'category'), code: { coding: [{ system: 'x', code: '8867-4' }] } },
      /^code: has no LOINC code and not the category/,
    ],
    [
      'a unit',
      { ...heartRate(), valueQuantity: quantity(44, 's', 's') },
      /^valueQuantity: has a unit that is not that of HR, beats\/min$/,
    ],
    ['no unit', { ...heartRate(), valueQuantity: { value: 44 } }, /^valueQuantity: needs a unit/],
    ['no value', without(heartRate(), 'valueQuantity'), /^valueQuantity: is needed, or a dataAbs/],
    [
      'a component',
      panel({ code: loinc('8867-4'), valueQuantity: quantity(1, '%', '%') }),
      /^component\[0\]\.valueQuantity: has a unit/,
    ],
    [
      'no time',
      without(heartRate(), 'effectiveDateTime'),
      /^effectiveDateTime or effectiveInstant/,
    ],
    [
      'a day only',
      { ...heartRate(), effectiveDateTime: '2026-05-04' },
      /as a date and time with a/,
    ],
    ['a status', { ...heartRate(), status: 'perfect' }, 'status: is none of the standard'],
    ['a wrong form', { ...heartRate(), valueQuantity: 44 }, /^valueQuantity: Invalid input/],
    ['a Bundle of something else', bundle('x'), /^entry\[0\]: is no FHIR resource/],
    ['a Bundle without a list', { resourceType: 'Bundle', entry: {} }, 'entry: must be a list'],
    ['nothing of interest', bundle(), 'has no reading of a channel that is monitored'],
    [
      'two patients',
      bundle(heartRate(), { ...heartRate(), subject: { reference: 'Patient/other' } }),
      'entry[1]: subject: is another one than before; a gateway serves one patient',
    ],
  ])('is refused for %s', async (_, content, message) => {
    const found = await refusal(content);
    expect(found).toEqual(expect.stringMatching(typeof message === 'string' ? /./ : message));
    if (typeof message === 'string') expect(found).toBe(message);
  });

  it('is refused without repeating a reading or a name', async () => {
    const marked = { ...heartRate(44321), subject: { reference: 'Patient/jane-doe' }, status: 'x' };
    for (const content of [marked, bundle(marked), `{"value":44321,`]) {
      const error: unknown = await readFile(content).catch((caught: unknown) => caught);
      expect(inspect(error, { depth: 9, showHidden: true })).not.toMatch(/44321|jane/);
    }
  });
});

describe('resources, one a line', () => {
  it('make rows by their times; a bad one ends nothing', async () => {
    const rows = await readLines(
      heartRate(),
      saturation(),
      'not JSON',
      { resourceType: 'Patient' },
      bundle(respiratoryRate(), { ...heartRate(), code: loinc('2339-0'), category: [] }),
      heartRate(45, 1),
    );
    expect(rows.map(({ problem, cells }) => problem ?? cells)).toEqual([
      'line 3: is not JSON',
      'line 4: must be an Observation, not Patient',
      { HR: '44', SpO2: '95', RESP: '26' },
      expect.stringMatching(/^line 5: entry\[1\]: code: has the LOINC code 2339-0/),
      { HR: '45' },
    ]);
    expect(rows.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
  });
});

describe('readObservation', () => {
  it('takes anything', () => {
    const mutated = fc
      .tuple(
        fc.constantFrom(heartRate(), saturation(), panel({ code: loinc('8867-4') })),
        fc.dictionary(
          fc.constantFrom(
            'status',
            'code',
            'valueQuantity',
            'component',
            'effectiveDateTime',
            'subject',
          ),
          fc.anything(),
        ),
      )
      .map(([resource, changes]) => ({ ...resource, ...changes }));
    fc.assert(
      fc.property(fc.oneof(mutated, fc.anything()), (resource) => {
        try {
          for (const { at: time } of readObservation(resource, channels).readings) {
            expect(Number.isSafeInteger(time)).toBe(true);
          }
        } catch (error) {
          if (!(error instanceof RefusedResource)) throw error;
        }
      }),
      { numRuns: 1000 },
    );
  });
});
