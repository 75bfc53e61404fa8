import { duoveilError } from '@duoveil/common/errors';
import type { PendingComparison } from '@duoveil/common/protocols/compare';
import type { RandomSource } from '@duoveil/common/random';

import { BoundedCache } from '../keys/bounded-cache.js';
import { ID_BYTES } from './transfers.js';

/** Comparisons that wait for their circuit at once, some 10 KB each. */
const CAPACITY = 1024;

/** Comparisons that were offered and not answered yet. Each is taken once. */
export class Comparisons {
  readonly #random: RandomSource;
  readonly #pending = new BoundedCache<PendingComparison>(CAPACITY);

  constructor(random: RandomSource) {
    this.#random = random;
  }

  /** Keep a comparison; its name. */
  add(pending: PendingComparison): Buffer {
    const id = Buffer.from(this.#random.bytes(ID_BYTES));
    this.#pending.set(id.toString('hex'), pending);
    return id;
  }

  /** @throws DuoveilError `SESSION_NOT_OPEN` where it was taken before, or pushed out */
  take(id: Uint8Array): PendingComparison {
    const pending = this.#pending.take(Buffer.from(id).toString('hex'));
    if (pending === undefined) {
      throw duoveilError('SESSION_NOT_OPEN', 'there is no such comparison: score the sample again');
    }
    return pending;
  }
}
