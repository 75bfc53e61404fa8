/** Which source the settings ask for. */
import { extname, resolve } from 'node:path';
import type { Readable } from 'node:stream';

import type { Channel } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import type { Secret } from '@duoveil/common/secret';

import { csvSource } from './csv.js';
import { fhirFileSource, fhirLinesSource } from './fhir.js';
import { inOrder } from './in-order.js';
import { fileInput, streamInput } from './inputs.js';
import { limited } from './limited.js';
import { readMqttMapping } from './mqtt-mapping.js';
import { mqttSource } from './mqtt.js';
import { ndjsonSource } from './ndjson.js';
import type { OpenSource, Source } from './source.js';
import { wfdbSource } from './wfdb.js';

/** The sources that there are. */
export const SOURCE_KINDS = ['csv', 'wfdb', 'ndjson', 'fhir', 'mqtt'] as const;

/** See {@link SOURCE_KINDS}. */
export type SourceKind = (typeof SOURCE_KINDS)[number];

/** What selects a source. */
export interface SourceSettings {
  /** By default what the input's name ends in says. */
  readonly source?: SourceKind | undefined;
  /** A file, or `-` for standard input. */
  readonly input?: string | undefined;
  /** Only this many rows. */
  readonly limit?: number | undefined;
  /** Readings that come one by one make a row when their times are at most so far apart. */
  readonly withinMs: number;
  /** For a broker: the file that says what is where. */
  readonly mapping?: string | undefined;
  /** For a broker, where it asks for one. */
  readonly mqttPassword?: Secret<string> | undefined;
  /** Is a 0 in a WFDB record a reading? */
  readonly keepZeros: boolean;
}

/** A recording, which can be read again and again, or what goes on for as long as it does. */
export type SelectedSource =
  | {
      readonly kind: 'recording';
      readonly source: Source;
      /** Its absolute path, which tells it from others. */
      readonly recording: string;
    }
  | { readonly kind: 'live'; readonly open: OpenSource };

/** How messages and settings call standard input. */
export const STANDARD_INPUT = '-';

const BY_EXTENSION: Readonly<Record<string, InputKind>> = {
  '.csv': 'csv',
  '.hea': 'wfdb',
  '.ndjson': 'ndjson',
  '.jsonl': 'ndjson',
  '.json': 'fhir',
};

/**
 * Whether the settings name a source, and go together; for that nothing has to be there yet.
 * @throws OPTION_INVALID where a setting is missing, or where two do not go together
 */
export function requireSource(settings: SourceSettings): void {
  askedFor(settings);
}

/**
 * The source that the settings ask for; nothing is opened yet.
 * @param stdin standard input, for a source that reads it
 * @throws OPTION_INVALID as {@link requireSource} does; CONFIG_INVALID for a broker's mapping
 */
export async function selectSource(
  settings: SourceSettings,
  channels: readonly Channel[],
  stdin: Readable,
): Promise<SelectedSource> {
  const asked = askedFor(settings);
  if (asked.kind === 'mqtt') {
    return { kind: 'live', open: await brokerOf(settings, asked.mapping, channels) };
  }
  const { kind, input } = asked;
  const { limit } = settings;
  if (input === STANDARD_INPUT) {
    const open: OpenSource = (signal) => {
      const standardInput = streamInput('standard input', stdin, signal);
      const source =
        kind === 'ndjson'
          ? ndjsonSource({ input: standardInput, channels: names(channels) })
          : fhirLinesSource(standardInput, { channels, withinMs: settings.withinMs });
      return limited(source, limit);
    };
    return { kind: 'live', open };
  }
  const source = limited(inOrder(recordingOf(kind, input, settings, channels)), limit);
  return { kind: 'recording', source, recording: resolve(input) };
}

/** What the settings ask for. */
type AskedFor =
  | { readonly kind: 'mqtt'; readonly mapping: string }
  | { readonly kind: InputKind; readonly input: string };

function askedFor(settings: SourceSettings): AskedFor {
  const { source, input, mapping } = settings;
  if (source === 'mqtt') {
    if (mapping === undefined) throw refuse('--mapping', 'is needed with --source mqtt');
    if (input === undefined) return { kind: 'mqtt', mapping };
    throw refuse('--input', 'is not for --source mqtt: --mapping says what is');
  }
  if (mapping !== undefined) throw refuse('--mapping', 'is for --source mqtt');
  if (input === undefined) throw refuse('--input', 'is needed: a file, or - for standard input');
  const kind = source ?? kindOf(input);
  if (input !== STANDARD_INPUT || (kind !== 'csv' && kind !== 'wfdb')) return { kind, input };
  throw refuse('--input', `must name a file: standard input is for ndjson and fhir, not ${kind}`);
}

async function brokerOf(
  { limit, withinMs, mqttPassword: password }: SourceSettings,
  file: string,
  channels: readonly Channel[],
): Promise<OpenSource> {
  const mapping = await readMqttMapping(file, channels);
  const options = { mapping, mappingFile: file, password, withinMs, channels: names(channels) };
  return (signal, logger) => limited(mqttSource({ ...options, logger }, signal), limit);
}

/** A source that has an input. */
type InputKind = Exclude<SourceKind, 'mqtt'>;

function kindOf(input: string): InputKind {
  if (input === STANDARD_INPUT) {
    throw refuse('--source', 'is needed with standard input: ndjson or fhir');
  }
  return BY_EXTENSION[extname(input).toLowerCase()] ?? 'csv';
}

function recordingOf(
  kind: InputKind,
  path: string,
  { withinMs, keepZeros, limit }: SourceSettings,
  channels: readonly Channel[],
): Source {
  switch (kind) {
    case 'csv':
      return csvSource({ path, channels: names(channels), limit });
    case 'wfdb':
      return wfdbSource({ path, channels, keepZeros });
    case 'ndjson':
      return ndjsonSource({ input: fileInput(path), channels: names(channels) });
    case 'fhir': {
      const options = { channels, withinMs };
      const isLines = BY_EXTENSION[extname(path).toLowerCase()] === 'ndjson';
      return isLines ? fhirLinesSource(fileInput(path), options) : fhirFileSource(path, options);
    }
  }
}

function names(channels: readonly Channel[]): string[] {
  return channels.map(({ name }) => name);
}

function refuse(option: string, problem: string): Error {
  return duoveilError('OPTION_INVALID', `${option} ${problem}`, { option });
}
