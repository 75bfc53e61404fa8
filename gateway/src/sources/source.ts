/** Where readings come from. */

/** A data row of a source, as it stands there: nothing is validated yet. */
export interface SourceRow {
  /** Position among the source's data rows, from 0. */
  readonly index: number;
  /** The reading of each wanted channel, as text; `undefined` where the row has none. */
  readonly cells: Readonly<Record<string, string | undefined>>;
  /** The row's own time in seconds, where the source tells it; for pacing only. */
  readonly seconds?: number;
}

/**
 * A source of rows, in order. Every iteration begins at the first row again; ending one early frees
 * what it holds. An iteration keeps a bounded part of the source in memory.
 *
 * @throws DuoveilError INPUT_INVALID, from an iteration's steps, where the source as a whole is not
 *   what it should be. A bad reading is no error: its row is skipped when it is quantised.
 */
export interface Source extends AsyncIterable<SourceRow> {
  /** What this is, for people: a file's name. */
  readonly name: string;
}
