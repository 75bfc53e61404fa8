/** A look at what is to be streamed, before anything is set up: is it there, and can it be read? */
import type { Schema } from '@duoveil/common/encoding';

import { quantiseSourceRow } from './sample.js';
import { requireSource, selectSource } from './sources/index.js';
import type { SourceSettings } from './sources/index.js';

/** How many rows are looked at. */
const LOOKED_AT = 100;

/** What was found in the first rows of a recording. */
export interface FirstRows {
  /** The recording's, for people. */
  readonly name: string;
  /** How many were looked at, at most 100; it may have more. */
  readonly rows: number;
  /** Those with a valid reading of every channel. */
  readonly complete: number;
  /** Why the first of the others would be skipped. */
  readonly skipped: string | undefined;
}

/**
 * Looks at the source that settings name: a recording's first rows are read, a broker's mapping is
 * decoded. Standard input is left alone, and so is the broker.
 * @returns undefined where settings name no source, or a live one
 * @throws OPTION_INVALID where the settings do not go together; CONFIG_INVALID for a mapping;
 * INPUT_INVALID where a file is missing, or malformed in these rows
 */
export async function lookAtSource(
  settings: SourceSettings,
  schema: Schema,
): Promise<FirstRows | undefined> {
  const { source, input, mapping } = settings;
  if (source === undefined && input === undefined && mapping === undefined) return undefined;
  requireSource(settings);
  const selected = await selectSource(settings, schema.channels, process.stdin);
  if (selected.kind === 'live') return undefined;
  const found = { rows: 0, complete: 0, skipped: undefined as string | undefined };
  for await (const row of selected.source) {
    const quantised = quantiseSourceRow(schema, row);
    if ('complete' in quantised) found.complete += 1;
    else found.skipped ??= quantised.skipped;
    found.rows += 1;
    if (found.rows === LOOKED_AT) break;
  }
  return { name: selected.source.name, ...found };
}

/** What was found, in a line. */
export function describeFirstRows({ name, rows, complete, skipped }: FirstRows): string {
  const others = skipped === undefined ? '' : ` (${skipped})`;
  return `first rows of ${name}: ${complete} of ${rows} complete${others}`;
}
