/** Rows from readings that come one by one. */

/** One reading. */
export interface Reading {
  readonly channel: string;
  /** Its time, or, where the device told none, that of its arrival; milliseconds since 1970. */
  readonly at: number;
  /** Did the device tell the time? */
  readonly measured: boolean;
  /** As text; undefined for a reading that is known to be missing. */
  readonly value: string | undefined;
}

/** A row made of readings. */
export interface AssembledRow {
  readonly cells: Readonly<Record<string, string | undefined>>;
  /** The time of the first of its readings, where the device told it. */
  readonly measuredAt?: number;
}

/**
 * Puts readings together whose times are at most so far apart. One row is open at a time: it is done
 * when it has all channels, or when a reading comes that belongs to a later one. A straggler, which
 * belongs to a row that is done, makes a row of its own, which lacks the other channels.
 */
export class RowAssembler {
  readonly #channels: readonly string[];
  readonly #withinMs: number;
  #open: { readonly first: Reading; readonly values: Map<string, string | undefined> } | undefined;

  /** @param withinMs at most so far apart, in milliseconds; from 0 */
  constructor(channels: readonly string[], withinMs: number) {
    this.#channels = channels;
    this.#withinMs = withinMs;
  }

  /**
   * Takes a reading of one of the channels.
   * @returns the rows that are done, in order
   */
  add(reading: Reading): AssembledRow[] {
    const done: AssembledRow[] = [];
    if (this.#open !== undefined) {
      const distance = reading.at - this.#open.first.at;
      if (distance < -this.#withinMs) return [rowOf(reading, new Map([entry(reading)]))];
      if (distance > this.#withinMs || this.#open.values.has(reading.channel)) {
        done.push(...this.flush());
      }
    }
    this.#open ??= { first: reading, values: new Map() };
    this.#open.values.set(...entry(reading));
    if (this.#open.values.size === this.#channels.length) done.push(...this.flush());
    return done;
  }

  /** Closes the open row, if there is one, whatever it lacks. */
  flush(): AssembledRow[] {
    const open = this.#open;
    this.#open = undefined;
    return open === undefined ? [] : [rowOf(open.first, open.values)];
  }
}

function entry({ channel, value }: Reading): [string, string | undefined] {
  return [channel, value];
}

function rowOf(
  { at, measured }: Reading,
  values: ReadonlyMap<string, string | undefined>,
): AssembledRow {
  const cells = Object.fromEntries(values);
  return measured ? { cells, measuredAt: at } : { cells };
}
