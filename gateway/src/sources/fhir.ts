/** Vital signs as FHIR R4 or R5 resources: an Observation, a Bundle of them, or either a line. */
import { stat } from 'node:fs/promises';
import { readFile } from 'node:fs/promises';

import { z } from 'zod';

import { readObservation, RefusedResource } from './fhir-observation.js';
import type { CodedChannel } from './fhir-observation.js';
import { fileError, inputError } from './input-error.js';
import type { Input } from './inputs.js';
import { boundedLines } from './lines.js';
import { RowAssembler } from './row-assembler.js';
import type { AssembledRow, Reading } from './row-assembler.js';
import type { Source, SourceRow } from './source.js';

/** What to read. */
export interface FhirOptions {
  /** Readings are found by the channels' LOINC codes; units must agree. */
  readonly channels: readonly CodedChannel[];
  /** Readings whose times are at most so far apart make a row, in milliseconds; from 0. */
  readonly withinMs: number;
}

/** Longest file with one resource, in bytes; longest line of many; most entries of a Bundle. */
const MAX_FILE_BYTES = 16 * 2 ** 20;
const MAX_LINE_BYTES = 2 ** 20;
const MAX_ENTRIES = 50_000;

const bundle = z.looseObject({
  resourceType: z.literal('Bundle'),
  entry: z
    .array(
      z.looseObject({
        resource: z.unknown(),
        search: z.looseObject({ mode: z.string().optional() }).optional(),
      }),
      'must be a list',
    )
    .max(MAX_ENTRIES, `must have at most ${MAX_ENTRIES} entries`)
    .default([]),
});

/**
 * A file with one resource, an Observation or a Bundle, as a source: its readings in the order of their
 * times. Iterating throws INPUT_INVALID, naming the entry and what is wrong, where any resource is no
 * vital sign (see {@link readObservation}), or where they are of several subjects; an Observation that
 * does not count (`entered-in-error`, ..) is a row with a problem.
 */
export function fhirFileSource(path: string, options: FhirOptions): Source {
  return { name: path, [Symbol.asyncIterator]: () => readFileRows(path, options) };
}

async function* readFileRows(path: string, options: FhirOptions): AsyncGenerator<SourceRow, void> {
  const reader = new Reader(options, true);
  let items: readonly Item[];
  try {
    items = reader.read(await readResource(path));
  } catch (error) {
    throw error instanceof RefusedResource ? inputError(path, error.message, error) : error;
  }
  const readings = items.flatMap((item) => (typeof item === 'string' ? [] : [item]));
  const assembler = new RowAssembler(names(options), options.withinMs);
  const rows: Omit<SourceRow, 'index'>[] = [
    ...items.flatMap((item) => (typeof item === 'string' ? [{ cells: {}, problem: item }] : [])),
    ...readings.sort((a, b) => a.at - b.at).flatMap((reading) => assembler.add(reading).map(timed)),
    ...assembler.flush().map(timed),
  ];
  if (rows.length === 0) throw inputError(path, 'has no reading of a channel that is monitored');
  for (const [index, row] of rows.entries()) yield { index, ...row };
}

async function readResource(path: string): Promise<unknown> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) {
      throw inputError(
        path,
        `is longer than ${MAX_FILE_BYTES} bytes; write a resource a line instead`,
      );
    }
    return JSON.parse((await readFile(path, 'utf8')).replace(/^\ufeff/, ''));
  } catch (error) {
    // The parser's own message would quote the file.
    throw error instanceof SyntaxError ? inputError(path, 'is not JSON') : fileError(error, path);
  }
}

/**
 * Resources, one a line, as a source. What the file's source refuses is a row with a problem here, with
 * the line and the reason: one bad resource ends nothing.
 */
export function fhirLinesSource(input: Input, options: FhirOptions): Source {
  return { name: input.name, [Symbol.asyncIterator]: () => readLineRows(input, options) };
}

async function* readLineRows(input: Input, options: FhirOptions): AsyncGenerator<SourceRow, void> {
  const reader = new Reader(options, false);
  const assembler = new RowAssembler(names(options), options.withinMs);
  let index = 0;
  for await (const { number, text } of boundedLines(input.chunks(), MAX_LINE_BYTES)) {
    for (const item of readLine(reader, text)) {
      const rows =
        typeof item === 'string'
          ? [{ cells: {}, problem: `line ${number}: ${item}` }]
          : assembler.add(item).map(timed);
      for (const row of rows) yield { index: index++, ...row };
    }
  }
  for (const row of assembler.flush()) yield { index: index++, ...timed(row) };
}

function readLine(reader: Reader, text: string | undefined): readonly Item[] {
  if (text === undefined) return [`is longer than ${MAX_LINE_BYTES} bytes`];
  try {
    return reader.read(JSON.parse(text));
  } catch (error) {
    if (error instanceof RefusedResource) return [error.message];
    if (error instanceof SyntaxError) return ['is not JSON'];
    throw error;
  }
}

function names({ channels }: FhirOptions): string[] {
  return channels.map(({ name }) => name);
}

function timed(row: AssembledRow): Omit<SourceRow, 'index'> {
  const { measuredAt } = row;
  return measuredAt === undefined ? row : { ...row, seconds: measuredAt / 1000 };
}

/** A reading, or why a resource has none that counts. */
type Item = Reading | string;

/** Reads resources of one subject. */
class Reader {
  readonly #channels: readonly CodedChannel[];
  readonly #strict: boolean;
  #subject: string | undefined;

  /** @param strict is a Bundle with a refused entry refused, or only that entry? */
  constructor({ channels }: FhirOptions, strict: boolean) {
    this.#channels = channels;
    this.#strict = strict;
  }

  /** @throws RefusedResource that says in which entry */
  read(resource: unknown): Item[] {
    const isBundle = z
      .looseObject({ resourceType: z.literal('Bundle') })
      .safeParse(resource).success;
    return isBundle ? this.#readBundle(resource) : this.#readOne(resource);
  }

  #readBundle(resource: unknown): Item[] {
    const result = bundle.safeParse(resource);
    if (!result.success) {
      const [issue] = result.error.issues;
      const path = issue?.path.map(String).join('.') ?? '';
      throw new RefusedResource(`${path}: ${issue?.message ?? 'is not valid'}`);
    }
    return result.data.entry.flatMap(({ resource: one, search }, i) => {
      // What a search adds to its matches is none of them.
      if (search?.mode === 'include' || search?.mode === 'outcome') return [];
      try {
        return this.#readOne(one).map((item) =>
          typeof item === 'string' ? `entry[${i}]: ${item}` : item,
        );
      } catch (error) {
        if (!(error instanceof RefusedResource)) throw error;
        const reason = `entry[${i}]: ${error.message}`;
        if (!this.#strict) return [reason];
        throw new RefusedResource(reason, { cause: error });
      }
    });
  }

  #readOne(resource: unknown): Item[] {
    const { readings, skipped, subject } = readObservation(resource, this.#channels);
    this.#subject ??= subject;
    if (subject !== undefined && subject !== this.#subject) {
      throw new RefusedResource(
        'subject: is another one than before; a gateway serves one patient',
      );
    }
    return skipped === undefined ? [...readings] : [skipped];
  }
}
