import type { PatientId } from '@duoveil/common/runtime';

import type { LevelPoint } from '../fleet/fleet.js';
import type { ChangedBook, News, Patient } from '../store/index.js';

/** Told what the monitors of this process do, and what other processes say that they did. */
export interface MonitorObserver {
  /** This process watches a patient from now on. */
  watching(patient: Patient): void;
  /** It does not any longer. */
  left(patient: PatientId): void;
  /** A sample came in here. */
  seen(patient: PatientId, at: Date): void;
  /** A sample was decided on here. */
  decided(patient: PatientId, point: LevelPoint): void;
  /** A baseline was learnt here; the first is 1. */
  trained(patient: PatientId, model: number): void;
  /** A book of alarms was changed here. */
  changed(book: ChangedBook): void;
  /** A process, this one included, says that it has done something about a patient, or about any. */
  news(patient: PatientId | undefined, news: News): void;
}
