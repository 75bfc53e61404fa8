import type { FleetChange, PatientSummary } from '../api/types.js';
import { Writable, type Store } from './store.js';

/** All patients by pseudonym; a new map after each change. */
export type FleetView = ReadonlyMap<string, PatientSummary>;

/** Hands tasks to the browser's clock; replaced in tests. */
export type Later = (task: () => void, ms: number) => void;

/** Changes of a fleet are shown together at most this often, in milliseconds: far below a second. */
const SHOWN_EVERY_MS = 100;

/** What is known of all patients: a full state, and the changes since. */
export class FleetStore {
  readonly #later: Later;
  readonly #patients = new Map<string, PatientSummary>();
  readonly #view = new Writable<FleetView | undefined>(undefined);
  #scheduled = false;

  constructor(later: Later = (task, ms) => void setTimeout(task, ms)) {
    this.#later = later;
  }

  /** Undefined until the first full state. */
  get view(): Store<FleetView | undefined> {
    return this.#view;
  }

  /** Take a full state in place of all that is known. */
  replace(patients: readonly PatientSummary[]): void {
    this.#patients.clear();
    for (const summary of patients) this.#patients.set(summary.patient, summary);
    this.#show();
  }

  /** Take a change. One that a later full state has overtaken is left out. */
  apply({ summary }: FleetChange): void {
    const known = this.#patients.get(summary.patient);
    if (known !== undefined && lastSequence(summary) < lastSequence(known)) return;
    this.#patients.set(summary.patient, summary);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#later(() => {
      this.#scheduled = false;
      this.#show();
    }, SHOWN_EVERY_MS);
  }

  /** Forget everything, when somebody signs out. */
  clear(): void {
    this.#patients.clear();
    this.#view.set(undefined);
  }

  #show(): void {
    this.#view.set(new Map(this.#patients));
  }
}

/** The number of the last sample that a summary knows of; 0 before the first. */
export function lastSequence({ recent }: PatientSummary): number {
  return recent.at(-1)?.[0] ?? 0;
}
