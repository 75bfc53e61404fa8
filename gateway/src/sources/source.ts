/** Where readings come from. */
import type { Logger } from '@duoveil/common/runtime';

/** A data row of a source, as it stands there: nothing is validated yet. */
export interface SourceRow {
  /** Position among the source's data rows, from 0. */
  readonly index: number;
  /** The reading of each wanted channel, as text; `undefined` where the row has none. */
  readonly cells: Readonly<Record<string, string | undefined>>;
  /** The row's time in seconds from some beginning, where the source tells it; for pacing only. */
  readonly seconds?: number;
  /** When it was measured, in milliseconds since 1970 UTC, where the source tells it. */
  readonly measuredAt?: number;
  /** Why the row as a whole is of no use; it is then skipped for this reason, whatever its cells. */
  readonly problem?: string;
}

/**
 * A source of rows, in order. Ending an iteration early frees what it holds. An iteration keeps a
 * bounded part of the source in memory.
 *
 * A recording's iterations all begin at the first row. A live source is iterated once, and a step of
 * that iteration says that every row before is dealt with for good: on disk, or skipped. It ends with
 * the reason of the signal that it was opened with.
 *
 * @throws DuoveilError INPUT_INVALID, from an iteration's steps, where the source as a whole is not
 *   what it should be. A bad reading is no error: its row is skipped when it is quantised.
 */
export interface Source extends AsyncIterable<SourceRow> {
  /** What this is, for people: a file's name. */
  readonly name: string;
}

/** Opens a live source, which ends with the signal's reason and says in the log what it waits for. */
export type OpenSource = (signal: AbortSignal, logger: Logger) => Source;
