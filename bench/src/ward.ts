/** Patients who stream in real time, each sample timed from its gateway to its decision and back. */
import { systemSleep } from '@duoveil/common/runtime';
import type { DecisionEvent } from '@duoveil/gateway/parts';

import type { Patient } from './patient.js';

/** When a sample was due by the patient's rate and when it left, encrypted (`performance.now()`). */
interface Departure {
  readonly dueMs: number;
  readonly leftMs: number;
}

/** A patient's time table, by `performance.now()`. */
export interface Timetable {
  /** When the first sample is due. */
  readonly startMs: number;
  readonly periodMs: number;
  /** What is due from then on is recorded. */
  readonly recordMs: number;
  /** Nothing is due from then on. */
  readonly endMs: number;
}

/** What was seen of all patients; times in milliseconds. */
export class WardRecord {
  /** From a sample's leaving the gateway to its decision there. */
  readonly decisionMs: number[] = [];
  /** The same from the moment at which the sample was due, with its encryption and any delay before. */
  readonly dueMs: number[] = [];
  readonly trainMs: number[] = [];
  /** Decisions of each level. */
  readonly levels: Record<string, number> = {};
  /** Decisions without a level. */
  unscored = 0;

  decided({ dueMs, leftMs }: Departure, event: DecisionEvent & { kind: 'decision' }): void {
    const now = performance.now();
    this.decisionMs.push(now - leftMs);
    this.dueMs.push(now - dueMs);
    const { outcome } = event;
    if (outcome.kind === 'scored' && outcome.statistic.kind === 'level') {
      const { level } = outcome.statistic;
      this.levels[level] = (this.levels[level] ?? 0) + 1;
    } else {
      this.unscored += 1;
    }
  }
}

/**
 * Stream by a time table until it ends and every decision is there. A sample that is due while the one
 * before is on its way waits, and its time counts from when it was due.
 */
export async function streamInTime(
  patient: Patient,
  timetable: Timetable,
  record: WardRecord,
  signal: AbortSignal,
): Promise<void> {
  const { startMs, periodMs, recordMs, endMs } = timetable;
  const underWay = new Map<number, Departure>();
  const first = patient.sent;
  // Moments are sums of periods, and may be off by a rounding.
  const dueBefore = (moment: number): number =>
    Math.max(0, Math.ceil((moment - startMs) / periodMs - 1e-6));
  const [unrecorded, total] = [dueBefore(recordMs), dueBefore(endMs)];
  const send = async (): Promise<void> => {
    for (let i = 0; i < total; i++) {
      const dueMs = startMs + i * periodMs;
      await systemSleep(Math.max(0, dueMs - performance.now()), signal);
      await patient.prepare(1);
      underWay.set(patient.sent + 1, { dueMs, leftMs: performance.now() });
      await patient.send();
    }
  };
  const receive = async (): Promise<void> => {
    for (let decided = first; decided < first + total;) {
      const event = await patient.next();
      if (event.kind === 'trained') {
        if (performance.now() >= recordMs) record.trainMs.push(event.trainMs);
        continue;
      }
      decided = event.sequence;
      const departure = underWay.get(decided);
      underWay.delete(decided);
      if (departure !== undefined && decided > first + unrecorded) {
        record.decided(departure, event);
      }
    }
  };
  await Promise.all([send(), receive()]);
}
