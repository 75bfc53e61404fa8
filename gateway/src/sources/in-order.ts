/** Rows in the order of their times: what comes late or twice is of no use for a series. */
import type { Source, SourceRow } from './source.js';

/** What to go by. */
export interface OrderOptions {
  /** The time of the last row of an earlier run, in milliseconds since 1970. */
  readonly after?: number | undefined;
  /** Told when the source's clock has been set back: times go on from here. */
  readonly onSetBack?: (byMs: number) => void;
}

/**
 * Rows behind the last one that are in order among themselves: so many cannot be stragglers. A broker
 * delivers at most 20 messages again unless told otherwise.
 */
const SET_BACK_AFTER = 60;

/**
 * Gives each row whose time is not after that of the last one before it a `problem`. Rows without a
 * time stand where they are. A clock that was set back would silence its device until it has caught up:
 * after 60 rows that are in order among themselves, the later ones count.
 */
export function inOrder(source: Source, options: OrderOptions = {}): Source {
  return { name: source.name, [Symbol.asyncIterator]: () => rowsOf(source, options) };
}

async function* rowsOf(
  source: Source,
  { after = -Infinity, onSetBack }: OrderOptions,
): AsyncGenerator<SourceRow, void> {
  let last = after;
  let behind = { last: -Infinity, rows: 0 };
  for await (const row of source) {
    const { measuredAt } = row;
    if (measuredAt === undefined) {
      yield row;
      continue;
    }
    if (measuredAt <= last) {
      const rows = measuredAt > behind.last ? behind.rows + 1 : 1;
      behind = { last: measuredAt, rows };
      if (rows < SET_BACK_AFTER) {
        const problem =
          measuredAt === last ? 'its time was there before' : 'its time is out of order';
        yield row.problem === undefined ? { ...row, problem } : row;
        continue;
      }
      onSetBack?.(last - measuredAt);
    }
    last = measuredAt;
    behind = { last: -Infinity, rows: 0 };
    yield row;
  }
}
