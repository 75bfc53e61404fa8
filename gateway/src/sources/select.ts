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
 * The source that the settings ask for; nothing is opened yet.
 * @param stdin standard input, for a source that reads it
 * @throws OPTION_INVALID where a setting is missing, or where two do not go together; CONFIG_INVALID for
 * a broker's mapping
 */
export async function selectSource(
  settings: SourceSettings,
  channels: readonly Channel[],
  stdin: Readable,
): Promise<SelectedSource> {
  const { input, limit } = settings;
  if (settings.source === 'mqtt') return { kind: 'live', open: await brokerOf(settings, channels) };
  if (settings.mapping !== undefined) throw refuse('--mapping', 'is for --source mqtt');
  if (input === undefined) throw refuse('--input', 'is needed: a file, or - for standard input');
  const kind = kindOf(settings, input);
  if (input === STANDARD_INPUT) {
    if (kind === 'csv' || kind === 'wfdb') {
      throw refuse(
        '--input',
        `must name a file: standard input is for ndjson and fhir, not ${kind}`,
      );
    }
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

async function brokerOf(
  settings: SourceSettings,
  channels: readonly Channel[],
): Promise<OpenSource> {
  const { input, limit, mapping: file, withinMs, mqttPassword: password } = settings;
  if (file === undefined) throw refuse('--mapping', 'is needed with --source mqtt');
  if (input !== undefined)
    throw refuse('--input', 'is not for --source mqtt: --mapping says what is');
  const mapping = await readMqttMapping(file, channels);
  const options = { mapping, mappingFile: file, password, withinMs, channels: names(channels) };
  return (signal, logger) => limited(mqttSource({ ...options, logger }, signal), limit);
}

/** A source that has an input. */
type InputKind = Exclude<SourceKind, 'mqtt'>;

function kindOf({ source }: SourceSettings, input: string): InputKind {
  if (source !== undefined && source !== 'mqtt') return source;
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
