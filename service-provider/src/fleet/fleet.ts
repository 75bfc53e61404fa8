/** All that operators see and do, whichever way they come: gRPC, HTTP or the dashboard. */
import type { PatientId } from '@duoveil/common/runtime';

import type { Alarm, AlarmId, Suppression } from '../alarms/alarm.js';

/** What one sample of a strip or a time line shows. */
export interface LevelPoint {
  readonly sequence: number;
  /** When it was measured, as its gateway says, else when it came in. */
  readonly at: Date;
  /** From 0; `learning` while a baseline fills; `unscorable` where the ciphertext held no sample. */
  readonly level: number | 'learning' | 'unscorable';
}

/** One patient among all. */
export interface PatientSummary {
  /** The pseudonym: the service provider knows no name. */
  readonly patient: PatientId;
  /** The last samples, at most 60, in order. */
  readonly recent: readonly LevelPoint[];
  /** When the last sample came in; undefined before the first. */
  readonly lastSeen: Date | undefined;
  readonly state: 'waiting' | 'learning' | 'monitoring' | 'silent';
  /** Highest level that a sample can have under this patient's policy. */
  readonly highestLevel: number;
  /** Alarms that are active or unacknowledged, and not suppressed; the last one first. */
  readonly alarms: readonly Alarm[];
  readonly suppression: Suppression | undefined;
  /** The number of the last baseline; 0 before the first. */
  readonly model: number;
  /** Samples that wait for a decision, where this process watches the patient. */
  readonly pending: number | undefined;
}

/** A baseline of a patient. */
export interface BaselineNotice {
  /** The first is 1. */
  readonly model: number;
  /** The last sample that was decided before it. */
  readonly throughSequence: number;
  readonly trainedAt: Date;
  readonly trainMs: number;
  /** Why it was learnt. */
  readonly reason: 'first' | 'rolling' | 'policy' | 'operator';
  /** The operator who asked for it. */
  readonly by: string | undefined;
}

/** One patient as a page of its own. */
export interface PatientDetail extends PatientSummary {
  readonly channels: readonly string[];
  readonly window: number;
  readonly baseline: 'fixed' | 'rolling';
  readonly enrolledAt: Date;
  readonly baselines: readonly BaselineNotice[];
  /** All alarms that are kept, the last one first. */
  readonly history: readonly Alarm[];
}

/** Something of a patient has changed: the whole of what the fleet shows of them. */
export interface FleetChange {
  readonly summary: PatientSummary;
  /** Alarms that were raised, cleared, acknowledged or escalated by it. */
  readonly changed: readonly Alarm[];
}

/** Which alarms are asked for; whatever is absent does not restrict. */
export interface AlarmFilter {
  readonly patient?: PatientId;
  readonly active?: boolean;
  readonly acknowledged?: boolean;
  readonly kind?: Alarm['cause']['kind'];
}

/** See the file's comment. */
export interface Fleet {
  /** All patients, by pseudonym. */
  patients(): Promise<readonly PatientSummary[]>;
  /** @throws DuoveilError `PATIENT_NOT_ENROLLED` */
  patient(patient: PatientId): Promise<PatientDetail>;
  /**
   * Decided samples in order.
   * @param fromSequence from 1
   * @param limit at most 5,000
   * @throws DuoveilError `PATIENT_NOT_ENROLLED`
   */
  timeline(patient: PatientId, fromSequence: number, limit: number): Promise<readonly LevelPoint[]>;
  /** Alarms that are kept, the last one first; at most `limit`. */
  alarms(filter: AlarmFilter, limit: number): Promise<readonly Alarm[]>;
  /**
   * Acknowledge alarms: all of them or none. One that is acknowledged already stays as it is.
   * @throws DuoveilError `ALARM_UNKNOWN`
   */
  acknowledge(ids: readonly AlarmId[], by: string): Promise<readonly Alarm[]>;
  /**
   * Keep a patient's alarms quiet until a time, at most 24 hours from now.
   * @throws DuoveilError `PATIENT_NOT_ENROLLED`, `MESSAGE_INVALID`
   */
  suppress(patient: PatientId, until: Date, reason: string, by: string): Promise<Suppression>;
  /** End that. @throws DuoveilError `PATIENT_NOT_ENROLLED` */
  unsuppress(patient: PatientId, by: string): Promise<void>;
  /**
   * Learn the patient's baseline anew, from the next sample on.
   * @throws DuoveilError `PATIENT_NOT_ENROLLED`
   */
  relearn(patient: PatientId, by: string): Promise<void>;
  /** Changes as they happen, of all patients, until the signal is aborted; none before it is called. */
  changes(signal: AbortSignal): AsyncIterable<FleetChange>;
}
