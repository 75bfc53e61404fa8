/** Values kept at most: beyond that, every other one is dropped, again and again. */
const KEPT = 65_536;

/** The median of a long series in bounded memory: exact up to 65,536 values, of an even selection beyond. */
export class RunningMedian {
  #values: number[] = [];
  #stride = 1;
  #seen = 0;

  /** Takes the next value of the series. */
  add(value: number): void {
    if (this.#seen % this.#stride === 0) this.#values.push(value);
    this.#seen += 1;
    if (this.#values.length < KEPT) return;
    this.#values = this.#values.filter((_, i) => i % 2 === 0);
    this.#stride *= 2;
  }

  /** The median so far; null where there is no value. */
  get value(): number | null {
    const sorted = [...this.#values].sort((a, b) => a - b);
    const upper = sorted[sorted.length >> 1];
    const lower = sorted[(sorted.length - 1) >> 1];
    return upper === undefined || lower === undefined ? null : (lower + upper) / 2;
  }
}
