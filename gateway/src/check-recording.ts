import type { Schema } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { abortReason } from '@duoveil/common/runtime';

import { quantiseSourceRow } from './sample.js';
import type { Source } from './sources/index.js';

/** What a recording holds. */
export interface RecordingCount {
  readonly rows: number;
  /** Rows with a valid reading of every channel. */
  readonly complete: number;
}

/**
 * Reads a recording once from its first to its last row, before anything of it is sent.
 * @throws INPUT_INVALID where it is not what it should be, or too short to learn a baseline from;
 * the signal's reason once that is aborted
 */
export async function checkRecording(
  source: Source,
  schema: Schema,
  window: number,
  signal: AbortSignal,
): Promise<RecordingCount> {
  let rows = 0;
  let complete = 0;
  for await (const row of source) {
    if (signal.aborted) throw abortReason(signal);
    rows += 1;
    if ('complete' in quantiseSourceRow(schema, row)) complete += 1;
  }
  if (complete >= window) return { rows, complete };
  throw duoveilError(
    'INPUT_INVALID',
    `${source.name} has ${complete} complete rows of ${rows}; a window of ${window} needs at least ${window}`,
    { source: source.name },
  );
}
