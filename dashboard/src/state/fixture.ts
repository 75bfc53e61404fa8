/** Made-up state for tests. */
import type { Alarm, LevelPoint, PatientSummary } from '../api/types.js';

/** A patient as a test needs one. */
export function summary(patient: string, what: Partial<PatientSummary> = {}): PatientSummary {
  return {
    patient,
    recent: [],
    state: 'monitoring',
    highestLevel: 3,
    alarms: [],
    model: 0,
    ...what,
  };
}

/** An alarm as a test needs one: of level 3 unless it is of another kind, active and not acknowledged. */
export function alarm(id: string, what: Partial<Alarm> = {}): Alarm {
  return {
    id,
    patient: id.slice(0, id.lastIndexOf(':')),
    kind: 'level',
    ...(what.kind === undefined && { rule: { level: 3, count: 5, of: 10 } }),
    sequence: 100,
    raisedAt: '2026-01-01T00:00:00.000Z',
    suppressed: false,
    ...what,
  };
}

/** Samples with these levels, one a second. */
export function points(levels: readonly number[], first = 1): LevelPoint[] {
  return levels.map((level, i) => [first + i, (first + i) * 1_000, level]);
}
