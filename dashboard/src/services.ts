/** What the pages work with: made once, in `main.tsx`. */
import { createContext } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';

import { describeError, isSignedOut } from './api/api-error.js';
import type { Api } from './api/client.js';
import type { Alarm, FleetChange, PatientSummary, Role, Session } from './api/types.js';
import { AlarmHerald } from './state/announcements.js';
import { FleetStore } from './state/fleet-store.js';
import { LiveConnection } from './state/live.js';
import { Writable, type Store } from './state/store.js';

/** Something that an operator is told in passing. */
export interface Notice {
  readonly id: number;
  readonly text: string;
  readonly kind: 'alarm' | 'done' | 'problem';
}

/** Who is signed in: undefined while that is not known, null for nobody. */
export type SignedIn = Session | null | undefined;

/** A session that nothing is asked for ends after half an hour; this is how often it is kept alive, at most. */
const TOUCH_EVERY_MS = 5 * 60_000;

/** How many notices stand at once. */
const NOTICES = 4;

/** State of the whole page, and what can be done with it. */
export class Services {
  readonly api: Api;
  readonly fleet = new FleetStore();
  readonly live: LiveConnection;
  readonly session = new Writable<SignedIn>(undefined);
  /** Why the sign-in page is shown; empty for no particular reason. */
  readonly signInReason = new Writable('');
  readonly notices = new Writable<readonly Notice[]>([]);
  readonly #changeListeners = new Set<(change: FleetChange) => void>();
  readonly #herald = new AlarmHerald();
  #lastNotice = 0;
  #touchedAt = 0;

  constructor(api: Api) {
    this.api = api;
    this.live = new LiveConnection(api, {
      onState: (patients) => {
        this.#takeState(patients);
      },
      onChange: (change) => {
        this.#takeChange(change);
      },
      onSignedOut: () => {
        this.endSession();
      },
    });
  }

  /**
   * Whoever has a session goes on with it; nobody else sees more than the sign-in page.
   * @param reason what that says then; empty for nothing
   */
  async resume(reason: string): Promise<void> {
    try {
      this.begin(await this.api.session());
    } catch (error) {
      const failed = `The session could not be read: ${describeError(error)}.`;
      this.forget(isSignedOut(error) ? reason : failed);
    }
  }

  /** Somebody is there: the server does not hear of it while nothing is asked for. */
  touch(): void {
    const now = Date.now();
    if (!this.session.value || now - this.#touchedAt < TOUCH_EVERY_MS) return;
    this.#touchedAt = now;
    this.api.session().catch(() => undefined);
  }

  /** Somebody is signed in. */
  begin(session: Session): void {
    this.#touchedAt = Date.now();
    this.session.set(session);
    this.signInReason.set('');
    void this.live.start();
  }

  /** The server knows of no session any more. */
  endSession(): void {
    this.forget('Your session has ended. Please sign in again.');
  }

  /** Nobody is signed in any more: nothing of the fleet stays in the page. */
  forget(reason: string): void {
    this.live.stop();
    this.fleet.clear();
    this.notices.set([]);
    this.signInReason.set(reason);
    this.session.set(null);
  }

  /** Say something in passing. */
  tell(text: string, kind: Notice['kind']): void {
    const notice = { id: ++this.#lastNotice, text, kind };
    this.notices.set([...this.notices.value, notice].slice(-NOTICES));
  }

  dismiss(id: number): void {
    this.notices.set(this.notices.value.filter((notice) => notice.id !== id));
  }

  /** Be told of each change until the returned function is called. */
  onChange(listener: (change: FleetChange) => void): () => void {
    this.#changeListeners.add(listener);
    return () => this.#changeListeners.delete(listener);
  }

  /** Of the first state nobody is told; alarms of a later one have come up while the connection was lost. */
  #takeState(patients: readonly PatientSummary[]): void {
    const first = this.fleet.view.value === undefined;
    this.fleet.replace(patients);
    for (const summary of patients) {
      const texts = this.#herald.announce({ summary, changed: summary.alarms });
      if (!first) for (const text of texts) this.tell(text, 'alarm');
    }
  }

  #takeChange(change: FleetChange): void {
    this.fleet.apply(change);
    for (const text of this.#herald.announce(change)) this.tell(text, 'alarm');
    for (const listener of [...this.#changeListeners]) listener(change);
  }
}

const ServicesContext = createContext<Services | undefined>(undefined);

/** Gives the pages their services. */
export const ServicesProvider = ServicesContext.Provider;

/** The page's services. */
export function useServices(): Services {
  const services = useContext(ServicesContext);
  if (services === undefined) throw new Error('there are no services around this component');
  return services;
}

/** A store's value; the component is drawn again when it changes. */
export function useStore<T>(store: Store<T>): T {
  const [value, setValue] = useState(store.value);
  useEffect(() => {
    const take = (): void => {
      setValue(() => store.value);
    };
    take();
    return store.subscribe(take);
  }, [store]);
  return value;
}

/** Whether who is signed in may do what needs a role. */
export function useMay(needed: Role): boolean {
  const session = useStore(useServices().session);
  return session !== null && session !== undefined && RANK[session.role] >= RANK[needed];
}

const RANK: Readonly<Record<Role, number>> = { viewer: 0, operator: 1, admin: 2 };

/** Which alarms nobody has acknowledged, of all patients. */
export function useOpenAlarms(): readonly Alarm[] {
  const fleet = useStore(useServices().fleet.view);
  return [...(fleet?.values() ?? [])].flatMap(({ alarms }) =>
    alarms.filter(({ acknowledged }) => acknowledged === undefined),
  );
}
