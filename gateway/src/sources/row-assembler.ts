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
  /** What whoever adds it knows it by, to find it among those of the open row. */
  readonly token?: object | undefined;
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
  #open: { readonly first: Reading; readonly readings: Map<string, Reading> } | undefined;

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
      if (distance < -this.#withinMs) return [rowOf([reading])];
      if (distance > this.#withinMs || this.#open.readings.has(reading.channel)) {
        done.push(...this.flush());
      }
    }
    this.#open ??= { first: reading, readings: new Map() };
    this.#open.readings.set(reading.channel, reading);
    if (this.#open.readings.size === this.#channels.length) done.push(...this.flush());
    return done;
  }

  /** The readings of the open row; none where there is none. */
  get openReadings(): Reading[] {
    return [...(this.#open?.readings.values() ?? [])];
  }

  /** Closes the open row, if there is one, whatever it lacks. */
  flush(): AssembledRow[] {
    const readings = this.openReadings;
    this.#open = undefined;
    return readings.length === 0 ? [] : [rowOf(readings)];
  }
}

/** @param readings in the order in which they came; at least one */
function rowOf(readings: readonly Reading[]): AssembledRow {
  const cells = Object.fromEntries(readings.map(({ channel, value }) => [channel, value]));
  const [first] = readings;
  return first?.measured === true ? { cells, measuredAt: first.at } : { cells };
}
