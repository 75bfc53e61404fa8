import { duoveilError } from '@duoveil/common/errors';
import {
  acceptTransfers,
  offerTransfers,
  type BaseSender,
  type ExtensionReceiver,
} from '@duoveil/common/protocols/compare';
import type { RandomSource } from '@duoveil/common/random';

import { BoundedCache } from '../keys/bounded-cache.js';

/** Sessions at once: one a service provider's process, and those of processes that are gone. */
const CAPACITY = 64;

/** The bytes of an identifier of a session or a comparison. */
export const ID_BYTES = 16;

/** How far behind the newest an instance may come: scores of different patients overtake each other. */
const REORDERING = 4096;

interface Session {
  readonly receiver: ExtensionReceiver;
  /** The greatest instance that was used, and those that were used not far behind it. */
  newest: number;
  readonly used: Set<number>;
}

/** Sessions of oblivious transfers, in memory only and bounded: a lost one is opened again. */
export class TransferSessions {
  readonly #random: RandomSource;
  readonly #offered = new BoundedCache<BaseSender>(CAPACITY);
  readonly #open = new BoundedCache<Session>(CAPACITY);

  constructor(random: RandomSource) {
    this.#random = random;
  }

  /** Offer base transfers. */
  offer(): { readonly id: Buffer; readonly message: Uint8Array } {
    const id = Buffer.from(this.#random.bytes(ID_BYTES));
    const sender = offerTransfers(this.#random);
    this.#offered.set(id.toString('hex'), sender);
    return { id, message: sender.message };
  }

  /**
   * Take the choices of an offer: the session is open then. An offer is taken once.
   * @throws DuoveilError `SESSION_NOT_OPEN`, `MESSAGE_INVALID`
   */
  async choose(id: Uint8Array, choices: Uint8Array): Promise<void> {
    const name = Buffer.from(id).toString('hex');
    const sender = this.#offered.take(name);
    if (sender === undefined) throw notOpen();
    this.#open.set(name, {
      receiver: { keys: await acceptTransfers(sender, choices) },
      newest: 0,
      used: new Set(),
    });
  }

  /**
   * The session's keys, for an instance that was never used: a request that is repeated is refused.
   * @throws DuoveilError `SESSION_NOT_OPEN`, `MESSAGE_INVALID`
   */
  use(id: Uint8Array, instance: number): ExtensionReceiver {
    const session = this.#open.get(Buffer.from(id).toString('hex'));
    if (session === undefined) throw notOpen();
    const { used, newest, receiver } = session;
    if (instance <= newest - REORDERING || used.has(instance)) {
      throw duoveilError('MESSAGE_INVALID', 'instance must be one that was never used', {
        field: 'instance',
      });
    }
    used.add(instance);
    if (instance > newest) {
      session.newest = instance;
      for (const old of used) if (old <= instance - REORDERING) used.delete(old);
    }
    return receiver;
  }
}

function notOpen(): Error {
  return duoveilError('SESSION_NOT_OPEN', 'the session is not open: open another one');
}
