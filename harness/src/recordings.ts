/**
 * The shared recordings of vital signs, for tests and demonstrations. They lie beside the project,
 * in `../shared/data` relative to its root, and are not part of it: they may be absent, and whoever
 * uses them has to have something else to do then.
 *
 * BIDMC PPG and Respiration Dataset v1.0.0 (PhysioNet, doi 10.13026/C2208R; Pimentel et al., IEEE
 * TBME 64(8), 2017), derived from MIMIC-II; licence ODC-By 1.0.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A recording of HR, PULSE, RESP and SpO2 at 1 Hz. */
export interface Recording {
  /** Number in the data set, two digits: `01`. */
  readonly id: string;
  /** The CSV file. */
  readonly path: string;
}

/** One row of a recording: cells by trimmed column name, `undefined` where the row is too short. */
export interface RecordingRow {
  /** Position among the data rows, from 0. */
  readonly index: number;
  readonly cells: Readonly<Record<string, string | undefined>>;
}

/** What exact arithmetic gives for a row: learning, skipped, or the distance and the decision. */
export type ExpectedRow =
  | { readonly index: number; readonly learning: true }
  | { readonly index: number; readonly skipped: true }
  | { readonly index: number; readonly md2: number; readonly outlier: boolean };

/** The configurations for which there are expected results, and what they stand for. */
export const EXPECTED_CONFIGURATIONS = {
  fixed20: { window: 20, baseline: 'fixed', retrainEvery: 0 },
  fixed60: { window: 60, baseline: 'fixed', retrainEvery: 0 },
  rolling60: { window: 60, baseline: 'rolling', retrainEvery: 10 },
} as const;

/** A configuration with expected results. */
export type ExpectedConfiguration = keyof typeof EXPECTED_CONFIGURATIONS;

/** The directory of the shared data; `undefined` where there is none. */
export function sharedDataDirectory(): string | undefined {
  const directory = fileURLToPath(new URL('../../../shared/data/', import.meta.url));
  return existsSync(join(directory, 'bidmc')) ? directory : undefined;
}

/** All recordings, by ascending id; `undefined` where the shared data is absent. */
export function listRecordings(): readonly Recording[] | undefined {
  const data = sharedDataDirectory();
  if (data === undefined) return undefined;
  const directory = join(data, 'bidmc');
  return readdirSync(directory)
    .sort()
    .flatMap((file) => {
      const id = /^bidmc_(\d+)_Numerics\.csv$/.exec(file)?.[1];
      return id === undefined ? [] : [{ id, path: join(directory, file) }];
    });
}

/** A recording by its id; `undefined` where there is none. */
export function findRecording(id: string): Recording | undefined {
  return listRecordings()?.find((recording) => recording.id === id);
}

/**
 * The rows of a recording. It is read by splitting at commas, which is all these files need: as
 * something to compare the gateway's reader with, it shares nothing with that.
 */
export function readRecording(recording: Recording): readonly RecordingRow[] {
  const [header = '', ...lines] = readFileSync(recording.path, 'utf8').trimEnd().split(/\r?\n/);
  const names = header.split(',').map((name) => name.trim());
  return lines.map((line, index) => {
    const values = line.split(',');
    return { index, cells: Object.fromEntries(names.map((name, i) => [name, values[i]])) };
  });
}

/**
 * The expected results of a recording, one a row: the default channels and threshold, `md2` the exact
 * rational rounded once. `undefined` where there are none for it, or the shared data is absent.
 */
export function readExpected(
  recording: Recording,
  configuration: ExpectedConfiguration,
): readonly ExpectedRow[] | undefined {
  const data = sharedDataDirectory();
  if (data === undefined) return undefined;
  const file = join(data, 'bidmc', 'expected', `bidmc_${recording.id}.${configuration}.ndjson`);
  if (!existsSync(file)) return undefined;
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as ExpectedRow);
}
