import { Bell, type PatientId } from '@duoveil/common/runtime';

import type { Alarm } from '../alarms/alarm.js';
import { MAX_ALARMS } from '../alarms/book.js';

/**
 * What one subscriber has not been told yet. However slow they are, it holds a patient once, with their
 * alarms as they are now.
 */
export class Subscription {
  readonly #bell = new Bell();
  readonly #pending = new Map<PatientId, Map<string, Alarm>>();

  /** Something of a patient has changed, and these alarms. */
  add(patient: PatientId, changed: readonly Alarm[]): void {
    const alarms = this.#pending.get(patient) ?? new Map<string, Alarm>();
    for (const alarm of changed) {
      alarms.delete(alarm.id);
      alarms.set(alarm.id, alarm);
    }
    const surplus = alarms.size - MAX_ALARMS;
    for (const id of [...alarms.keys()].slice(0, Math.max(surplus, 0))) alarms.delete(id);
    this.#pending.set(patient, alarms);
    this.#bell.ring();
  }

  /** Whose change is told next; undefined where there is none, or the signal was aborted. */
  async next(signal: AbortSignal): Promise<PatientId | undefined> {
    while (!signal.aborted) {
      const heard = this.#bell.count;
      const [patient] = this.#pending.keys();
      if (patient !== undefined) return patient;
      await this.#bell.next(heard, signal);
    }
    return undefined;
  }

  /** Their alarms that have changed; they are told now. */
  take(patient: PatientId): readonly Alarm[] {
    const alarms = this.#pending.get(patient);
    this.#pending.delete(patient);
    return [...(alarms?.values() ?? [])];
  }
}
