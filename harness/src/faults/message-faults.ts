/** What is done to the messages between one gateway and the service provider. */
import { duoveilError } from '@duoveil/common/errors';
import { systemSleep } from '@duoveil/common/runtime';

import type { FaultCounts } from './fault-counts.js';
import type { MessageFault } from './operations.js';
import type { MessageMeddling, PassingMessage } from './sp-proxy.js';

/** Faults that wait for their message, in the order in which they were armed. */
export class MessageFaults {
  readonly #counts: FaultCounts;
  readonly #armed: { fault: MessageFault; after: number }[] = [];

  constructor(counts: FaultCounts) {
    this.#counts = counts;
  }

  /** From now on, the next message that it concerns meets with this. */
  arm(fault: MessageFault): void {
    this.#armed.push({ fault, after: fault.after });
  }

  /** See {@link MessageMeddling}. */
  readonly meddle: MessageMeddling = async (message) => {
    const fault = this.#next(message);
    if (fault === undefined) return [message.bytes];
    this.#counts.add(`${fault.does} ${fault.direction}`);
    switch (fault.does) {
      case 'drop':
        throw broken();
      case 'silence':
        await systemSleep(fault.ms, message.signal);
        throw broken();
      case 'delay':
        await systemSleep(fault.ms, message.signal);
        return [message.bytes];
      case 'duplicate':
        return [message.bytes, message.bytes];
    }
  };

  #next(message: PassingMessage): MessageFault | undefined {
    const index = this.#armed.findIndex(({ fault }) => concerns(fault, message));
    const found = this.#armed[index];
    if (found === undefined) return undefined;
    if (found.after > 0) {
      found.after -= 1;
      return undefined;
    }
    this.#armed.splice(index, 1);
    return found.fault;
  }
}

function concerns(fault: MessageFault, message: PassingMessage): boolean {
  if (fault.method !== message.method || fault.direction !== message.direction) return false;
  // A stream is opened once: what follows are samples and what acknowledges them.
  return fault.does !== 'duplicate' || message.method !== 'Ingest' || message.position > 0;
}

function broken(): Error {
  return duoveilError('PEER_UNAVAILABLE', 'the connection broke', { peer: 'sp' });
}
