/**
 * Changes of the fleet as server-sent events, to everybody who listens. Whoever is slow gets the latest
 * of each patient once there is room: what is kept for them is bounded by the number of patients.
 */
import { duoveilError } from '@duoveil/common/errors';
import { metrics, type Logger, type PatientId } from '@duoveil/common/runtime';
import type { Writable } from 'node:stream';

import type { Alarm } from '../alarms/alarm.js';
import type { Fleet, FleetChange } from '../fleet/fleet.js';
import type { Session, Sessions } from './sessions.js';
import { encodeChange } from './wire.js';

/** What the events come from, and their bounds. */
export interface EventsOptions {
  readonly fleet: Pick<Fleet, 'changes'>;
  readonly sessions: Sessions;
  readonly logger: Logger;
  /** Listeners at once, in all and of one name; 128 and 8 by default. */
  readonly maxListeners?: number;
  readonly maxListenersOfOne?: number;
  /** A comment goes out this often, and sessions are looked at, in milliseconds; 15 s by default. */
  readonly heartbeatMs?: number;
}

/** Heartbeats that a connection may have no room for before it is given up. */
const PATIENCE = 4;

/** How long browsers wait before they connect again, in milliseconds. */
const RETRY_MS = 1000;

/** See the file's comment. */
export class Events {
  readonly #options: EventsOptions;
  readonly #listeners = new Set<Listener>();
  readonly #stop = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #following: Promise<void>;
  readonly #unobserve: () => void;

  constructor(options: EventsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      this.beat();
    }, options.heartbeatMs ?? 15_000).unref();
    this.#unobserve = metrics.httpListeners.observe((report) => {
      report(this.#listeners.size);
    });
    this.#following = this.#follow();
  }

  /** How many listen. */
  get size(): number {
    return this.#listeners.size;
  }

  /**
   * Sends every change from now on, until the session or the connection ends.
   * @throws DuoveilError `OVERLOADED`, `NOT_READY`
   */
  admit(session: Session): void {
    const { maxListeners = 128, maxListenersOfOne = 8 } = this.#options;
    if (this.#stop.signal.aborted) {
      throw duoveilError('NOT_READY', 'the server is going down; try again');
    }
    const ofOne = [...this.#listeners].filter(({ name }) => name === session.name).length;
    if (ofOne < maxListenersOfOne && this.#listeners.size < maxListeners) return;
    throw duoveilError('OVERLOADED', 'too many pages are open; close some', {
      retryAfterMs: 10_000,
    });
  }

  /** @param to an answer whose head is sent; it is ended with the session */
  listen(session: Session, to: Writable): void {
    const listener = new Listener(session, to);
    this.#listeners.add(listener);
    to.once('close', () => this.#listeners.delete(listener));
    // A connection that broke is closed, which is all there is to know.
    to.on('error', () => undefined);
    listener.write(`retry: ${RETRY_MS}\n\n`);
  }

  /** Ends what a session listens to, as its sign-out does. */
  endSession({ id }: Session): void {
    for (const listener of this.#listeners) if (listener.session.id === id) listener.end();
  }

  /** What happens with every heartbeat. */
  beat(): void {
    for (const listener of this.#listeners) {
      const isOver = this.#options.sessions.current(listener.session) === undefined;
      if (isOver) listener.end();
      else if (!listener.isBlocked) listener.write(': alive\n\n');
      else if (listener.missed() > PATIENCE) listener.destroy();
    }
  }

  /** Ends all, for good. */
  async close(): Promise<void> {
    this.#stop.abort();
    clearInterval(this.#timer);
    this.#unobserve();
    for (const listener of this.#listeners) listener.end();
    await this.#following;
  }

  async #follow(): Promise<void> {
    try {
      for await (const change of this.#options.fleet.changes(this.#stop.signal)) {
        this.#tell(change);
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) {
        this.#options.logger.error('the changes of the fleet have ended', { error });
      }
    }
    // Nobody is to believe that nothing changes any more: they connect again, and read anew.
    for (const listener of this.#listeners) listener.end();
  }

  #tell(change: FleetChange): void {
    let text: string | undefined;
    for (const listener of this.#listeners) {
      if (listener.isBlocked) listener.keep(change);
      else listener.write((text ??= eventOf(change)));
    }
  }
}

function eventOf(change: FleetChange): string {
  return `event: change\ndata: ${JSON.stringify(encodeChange(change))}\n\n`;
}

/** One connection. */
class Listener {
  readonly session: Session;
  readonly #to: Writable;
  /** What there was no room for: the latest of each patient. */
  readonly #kept = new Map<PatientId, FleetChange>();
  #blocked = false;
  #missed = 0;

  constructor(session: Session, to: Writable) {
    this.session = session;
    this.#to = to;
    to.on('drain', () => {
      this.#flush();
    });
  }

  get name(): string {
    return this.session.name;
  }

  get isBlocked(): boolean {
    return this.#blocked;
  }

  write(text: string): void {
    if (!this.#to.writable) return;
    this.#blocked = !this.#to.write(text);
  }

  keep(change: FleetChange): void {
    const { patient } = change.summary;
    const before = this.#kept.get(patient);
    this.#kept.set(patient, before === undefined ? change : merged(before, change));
  }

  /** How many heartbeats in a row there was no room for, with this one. */
  missed(): number {
    return (this.#missed += 1);
  }

  end(): void {
    this.#to.end();
  }

  destroy(): void {
    this.#to.destroy();
  }

  #flush(): void {
    this.#blocked = false;
    this.#missed = 0;
    for (const [patient, change] of this.#kept) {
      if (this.isBlocked) return;
      this.#kept.delete(patient);
      this.write(eventOf(change));
    }
  }
}

/** Two changes of a patient as one: the latest of everything. */
function merged(before: FleetChange, after: FleetChange): FleetChange {
  const alarms = new Map<string, Alarm>();
  for (const alarm of [...before.changed, ...after.changed]) alarms.set(alarm.id, alarm);
  return { summary: after.summary, changed: [...alarms.values()] };
}
