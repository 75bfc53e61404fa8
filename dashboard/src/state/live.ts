/** Keeps the page's state that of the server: a full state, then changes, and again when the connection was lost. */
import { isSignedOut } from '../api/api-error.js';
import type { Api } from '../api/client.js';
import type { FleetChange, PatientSummary } from '../api/types.js';
import { pauseMs } from './backoff.js';
import { Writable, type Store } from './store.js';

/** How the page stands to the server. */
export type Connection =
  | { readonly state: 'connecting' }
  | { readonly state: 'live' }
  /** What is shown is the state of this time. */
  | { readonly state: 'lost'; readonly since: Date };

/** Whoever is told what comes in. */
export interface LiveListener {
  /** The whole state: at first, and after each loss. */
  onState(patients: readonly PatientSummary[]): void;
  onChange(change: FleetChange): void;
  /** Nobody is signed in any more: nothing is tried again. */
  onSignedOut(): void;
}

/** Time and chance; replaced in tests. */
export interface Surroundings {
  now(): Date;
  random(): number;
  /** Resolves after a time, or as soon as the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** See the file's comment. */
export class LiveConnection {
  readonly #api: Pick<Api, 'changes' | 'patients'>;
  readonly #listener: LiveListener;
  readonly #around: Surroundings;
  readonly #connection = new Writable<Connection>({ state: 'connecting' });
  #stop = new AbortController();
  #attempt = new AbortController();
  #pause = new AbortController();

  constructor(
    api: Pick<Api, 'changes' | 'patients'>,
    listener: LiveListener,
    around: Surroundings = browserSurroundings,
  ) {
    this.#api = api;
    this.#listener = listener;
    this.#around = around;
  }

  get connection(): Store<Connection> {
    return this.#connection;
  }

  /** Connect, and stay connected until {@link stop}. */
  async start(): Promise<void> {
    const { signal } = (this.#stop = new AbortController());
    const stopped = (): boolean => signal.aborted;
    this.#connection.set({ state: 'connecting' });
    let failures = 0;
    while (!stopped()) {
      try {
        await this.#stayConnected(() => (failures = 0));
      } catch (error) {
        if (isSignedOut(error) && !stopped()) {
          this.#listener.onSignedOut();
          return;
        }
      }
      if (stopped()) return;
      failures += 1;
      this.#lose();
      this.#pause = new AbortController();
      const ms = pauseMs(failures, this.#around.random());
      await this.#around.sleep(ms, AbortSignal.any([this.#pause.signal, signal]));
    }
  }

  /** Try at once, where a pause is being made; look anew, where the connection may be gone. */
  retry(): void {
    this.#pause.abort();
  }

  /** What is open is of no use any more: the network is gone. */
  drop(): void {
    this.#attempt.abort();
  }

  stop(): void {
    this.#stop.abort();
    this.#attempt.abort();
  }

  async #stayConnected(onLive: () => void): Promise<void> {
    const { signal } = (this.#attempt = new AbortController());
    try {
      // Changes first, so that none is missed between the full state and them.
      const changes = await this.#api.changes(signal);
      this.#listener.onState(await this.#api.patients());
      if (signal.aborted) return;
      this.#connection.set({ state: 'live' });
      onLive();
      for await (const change of changes) this.#listener.onChange(change);
    } finally {
      this.#attempt.abort();
    }
  }

  #lose(): void {
    if (this.#connection.value.state === 'lost') return;
    this.#connection.set({ state: 'lost', since: this.#around.now() });
  }
}

const browserSurroundings: Surroundings = {
  now: () => new Date(),
  random: () => Math.random(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    }),
};
