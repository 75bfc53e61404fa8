import type { AdditiveCiphertext } from '@duoveil/common/paillier';
import { freshZero, type ProviderKey } from '@duoveil/common/protocols/packed';
import { systemRandom } from '@duoveil/common/random';
import { metrics } from '@duoveil/common/runtime';

/** Encryptions of zero that are ready at most. */
const CAPACITY = 8;

/**
 * Encryptions of zero under a service provider's key, drawn ahead: each is used for one answer. Where
 * there is none, an answer draws its own: that is slower and nothing else.
 */
export class ZeroPool {
  readonly #provider: ProviderKey;
  readonly #ready: AdditiveCiphertext[] = [];
  #filling = false;

  constructor(provider: ProviderKey) {
    this.#provider = provider;
  }

  /** One that nobody had before and nobody gets again, if one is ready. */
  take(): AdditiveCiphertext | undefined {
    metrics.poolFill.record(this.#ready.length, { 'duoveil.pool': 'zeros' });
    const zero = this.#ready.pop();
    this.refill();
    return zero;
  }

  /** Fill up in the background. */
  refill(): void {
    if (this.#filling) return;
    this.#filling = true;
    void this.#fill().finally(() => {
      this.#filling = false;
    });
  }

  async #fill(): Promise<void> {
    try {
      while (this.#ready.length < CAPACITY) {
        this.#ready.push(await freshZero(this.#provider, systemRandom));
      }
    } catch {
      // The pool stays short; an answer that draws its own meets the same error, and reports it.
    }
  }
}
