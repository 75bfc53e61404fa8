/**
 * Lets pieces of work that hold the event loop take turns: one of them in each turn of the loop, in the
 * order in which they came. Answers for many patients may come in with one read of a socket; worked on
 * at once, they would hold the loop for as long as all of them take together.
 */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #running = false;

  /** Resolves when it is the caller's turn: what follows, up to its next `await`, has the turn for itself. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#running) return;
      this.#running = true;
      this.#schedule();
    });
  }

  #schedule(): void {
    // An immediate that is set while immediates run is run in the loop's next turn.
    setImmediate(() => {
      const wake = this.#waiting.shift();
      if (wake === undefined) {
        this.#running = false;
        return;
      }
      wake();
      this.#schedule();
    });
  }
}
