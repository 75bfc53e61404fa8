/** How often each fault was injected: not planned, but seen to happen. */
export class FaultCounts {
  readonly #counts = new Map<string, number>();

  /** One more of a kind. */
  add(fault: string, count = 1): void {
    this.#counts.set(fault, (this.#counts.get(fault) ?? 0) + count);
  }

  /** How often a kind was injected. */
  of(fault: string): number {
    return this.#counts.get(fault) ?? 0;
  }

  /** All kinds by name. */
  entries(): [fault: string, count: number][] {
    return [...this.#counts].sort(([a], [b]) => a.localeCompare(b, 'en'));
  }
}
