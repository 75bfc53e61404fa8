/** What custodians do with the keys of a running CSP: every act is in the audit log. */
import { duoveilError } from '@duoveil/common/errors';
import type { SealingSecret } from '@duoveil/common/runtime';

import type { AuditLog, ChainEnd } from '../audit/audit-log.js';
import type { Attempts } from './attempts.js';
import type { Custody, OpenGeneration } from './custody.js';
import type { Generation } from './generations.js';
import type { CustodyKey, Lock, SharesLock } from './locks.js';
import type { Share } from './shares.js';
import type { Contents, Vault } from './vault.js';

/** What an unsealed CSP has: its keys, and what was made of them. */
export interface Unsealed extends Contents {
  readonly custodyKey: CustodyKey;
  /** Begin to serve a generation. */
  add(opened: OpenGeneration): Promise<void>;
  /** Serve a generation no longer. */
  remove(number: number): void;
}

/** What opens, or helps to open. */
export type Offer = SealingSecret | { readonly kind: 'share'; readonly share: Share };

/** Where a CSP stands. Nothing of it is secret. */
export interface CustodyStatus {
  readonly isOpen: boolean;
  readonly locks: readonly Lock[];
  /** The shares that were given since it was sealed. */
  readonly given: readonly Pick<Share, 'set' | 'index'>[];
  readonly generations: readonly Generation[];
  readonly audit: ChainEnd;
}

/** What the custodians' acts work with. */
export interface CustodianEnvironment<C extends Unsealed> {
  readonly custody: Custody;
  readonly vault: Vault<C>;
  readonly audit: AuditLog;
  readonly attempts: Attempts;
  /** Make what an unsealed CSP has. It owns the key from then on. */
  readonly unsealed: (key: CustodyKey, generations: readonly OpenGeneration[]) => Promise<C>;
  /** Draw the master key of the next generation, like the one before. */
  readonly draw: (before: Generation) => Promise<OpenGeneration['key']>;
  /** How long calls in progress may go on when the CSP is sealed, in milliseconds. */
  readonly graceMs: number;
}

/** One act at a time. */
export class Custodians<C extends Unsealed> {
  readonly #environment: CustodianEnvironment<C>;
  /** By their digests' place: of one lock, as the first one given decides. */
  readonly #given = new Map<number, Share>();
  #givenTo: SharesLock | undefined;
  #acting: Promise<unknown> = Promise.resolve();

  constructor(environment: CustodianEnvironment<C>) {
    this.#environment = environment;
  }

  status(): CustodyStatus {
    const { custody, vault, audit } = this.#environment;
    return {
      isOpen: vault.isOpen,
      locks: custody.locks,
      given: [...this.#given.values()].map(({ set, index }) => ({ set, index })),
      generations: custody.generations,
      audit: audit.end,
    };
  }

  /**
   * Offer what opens. With a share the CSP stays sealed until enough of them are there. Where it is
   * unsealed already, nothing is looked at.
   * @param by who offers it, as the audit log is to name them
   * @throws DuoveilError `UNSEALING_FAILED`, the same for every cause; `OVERLOADED` after some failures
   */
  unseal(offer: Offer, by: string): Promise<CustodyStatus> {
    return this.#act(async () => {
      const { vault, audit, attempts } = this.#environment;
      if (vault.isOpen) return;
      attempts.require(by);
      const what = offer.kind === 'share' ? nameOf(offer.share) : offer.kind;
      const taken = await this.#take(offer);
      if (taken === undefined) {
        attempts.failed(by);
        await audit.append({ event: 'refused', method: 'Unseal', by, code: 'UNSEALING_FAILED' });
        throw duoveilError('UNSEALING_FAILED', 'this does not unseal the CSP');
      }
      await audit.append({ event: 'custody', method: 'Unseal', by, detail: what });
      if (taken !== 'more are needed') await this.#open(taken, by);
    });
  }

  /** Drop all keys, and the shares that were given. Calls in progress may finish. */
  seal(by: string): Promise<CustodyStatus> {
    return this.#act(async () => {
      const { vault, audit, graceMs } = this.#environment;
      this.#forgetShares();
      // The keys go, whether it can be written down or not.
      await vault.close(graceMs);
      await audit.append({ event: 'custody', method: 'Seal', by });
    });
  }

  /**
   * Draw a new generation of keys, for new enrolments. Those before stay until they are retired.
   * @throws DuoveilError `CSP_SEALED`; `MESSAGE_INVALID` where there are too many
   */
  rotate(by: string): Promise<CustodyStatus> {
    return this.#act(async () => {
      const { vault, custody, audit, draw } = this.#environment;
      await vault.use(async (unsealed) => {
        custody.requireRoom();
        const drawn = await draw(custody.newest);
        const number = custody.newest.number + 1;
        const detail = `generation ${String(number)}, ${drawn.parameters.digest}`;
        // First: no generation without a line, whenever the process is killed.
        await audit.append({ event: 'custody', method: 'Rotate', by, detail });
        await unsealed.add(await custody.add(drawn, unsealed.custodyKey));
      });
    });
  }

  /**
   * Delete the master key of a generation: what is encrypted under it is not readable any more.
   * @throws DuoveilError `CSP_SEALED`; `MESSAGE_INVALID` for the newest, or one that is not there
   */
  retire(number: number, by: string): Promise<CustodyStatus> {
    return this.#act(async () => {
      const { vault, custody, audit } = this.#environment;
      await vault.use(async (unsealed) => {
        if (custody.requireRetirable(number).retiredAt !== undefined) return;
        const detail = `generation ${String(number)}`;
        await audit.append({ event: 'custody', method: 'Retire', by, detail });
        await custody.retire(number);
        unsealed.remove(number);
      });
    });
  }

  async #act(work: () => Promise<void>): Promise<CustodyStatus> {
    const acting = this.#acting.catch(() => undefined).then(work);
    this.#acting = acting;
    await acting;
    return this.status();
  }

  /** The custody key; undefined where the offer is none of this custody's. */
  async #take(offer: Offer): Promise<CustodyKey | 'more are needed' | undefined> {
    const { custody } = this.#environment;
    if (offer.kind !== 'share') return custody.unlock(offer);
    const lock = custody.lockOf(offer.share);
    if (lock === undefined) return undefined;
    if (lock !== this.#givenTo) this.#forgetShares();
    this.#givenTo = lock;
    this.#given.set(offer.share.index, offer.share);
    if (this.#given.size < lock.threshold) return 'more are needed';
    return custody.unlockWithShares(lock, [...this.#given.values()]);
  }

  async #open(key: CustodyKey, by: string): Promise<void> {
    const { custody, vault, audit, unsealed } = this.#environment;
    this.#forgetShares();
    try {
      vault.open(await unsealed(key, await custody.open(key)));
    } catch (error) {
      key.forget();
      throw error;
    }
    await audit.append({ event: 'custody', method: 'Unsealed', by });
  }

  #forgetShares(): void {
    for (const { value } of this.#given.values()) value.forget();
    this.#given.clear();
    this.#givenTo = undefined;
  }
}

function nameOf({ set, index }: Share): string {
  return `share ${String(index)} of ${set}`;
}
