import { duoveilError } from '@duoveil/common/errors';
import { systemSleep } from '@duoveil/common/runtime';

/** Which messages a fault is for. */
export interface FaultTarget {
  /** The method's name in the wire contract, such as `Ingest` or `Score`; by default any. */
  readonly method?: string | undefined;
  /** On the way there, or on the way back; by default there. */
  readonly direction?: 'request' | 'response' | undefined;
  /** How many messages, one after another; by default 1. */
  readonly times?: number | undefined;
}

/** A fault that waits for its messages. */
interface Fault {
  readonly target: FaultTarget;
  readonly delayMs: number | undefined;
  left: number;
}

/**
 * The network between two parties, as faults see it. Everything passes until told otherwise; faults
 * are used up in the order in which they were set.
 */
export class Link {
  readonly #peer: string;
  #faults: Fault[] = [];
  #isCut = false;

  /** @internal */
  constructor(peer: string) {
    this.#peer = peer;
  }

  /** Lets messages get lost: their call, or stream, ends with an error at who began it. */
  drop(target: FaultTarget = {}): void {
    this.#faults.push({ target, delayMs: undefined, left: target.times ?? 1 });
  }

  /** Holds messages up, and what follows them on the same stream, by so many milliseconds. */
  delay(ms: number, target: FaultTarget = {}): void {
    this.#faults.push({ target, delayMs: ms, left: target.times ?? 1 });
  }

  /** Lets nothing through, either way, until {@link Link.heal}. */
  cut(): void {
    this.#isCut = true;
  }

  /** Lets everything through again; faults that are not used up are gone. */
  heal(): void {
    this.#isCut = false;
    this.#faults = [];
  }

  /** How many messages are still to be dropped or delayed. */
  get pending(): number {
    return this.#faults.reduce((sum, { left }) => sum + left, 0);
  }

  /**
   * Resolves when a message may pass.
   * @throws PEER_UNAVAILABLE where it gets lost
   * @internal
   */
  async pass(
    method: string,
    direction: 'request' | 'response',
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#isCut) throw this.#lost('the link is cut');
    const fault = this.#take(method, direction);
    if (fault === undefined) return;
    if (fault.delayMs === undefined) throw this.#lost(`a ${direction} of ${method} was dropped`);
    await systemSleep(fault.delayMs, signal);
  }

  #take(method: string, direction: 'request' | 'response'): Fault | undefined {
    const fault = this.#faults.find(
      ({ target }) =>
        (target.method ?? method) === method && (target.direction ?? 'request') === direction,
    );
    if (fault === undefined) return undefined;
    fault.left -= 1;
    if (fault.left <= 0) this.#faults = this.#faults.filter((other) => other !== fault);
    return fault;
  }

  #lost(why: string): Error {
    return duoveilError('PEER_UNAVAILABLE', `${this.#peer}: ${why}`, { peer: this.#peer });
  }
}
