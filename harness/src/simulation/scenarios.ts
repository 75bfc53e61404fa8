/** What happens to a simulated patient, and what of it an alarm should tell apart. */
import type { Prng } from './prng.js';

/** The simulated channels: those of the default schema. */
export const VITAL_SIGNS = ['HR', 'PULSE', 'RESP', 'SpO2'] as const;

/** A simulated channel. */
export type VitalSign = (typeof VITAL_SIGNS)[number];

/** What a scenario does to a row, beside the patient's own variability. */
export interface Influence {
  /** Added to a channel, in its unit. */
  readonly shift: Readonly<Partial<Record<VitalSign, number>>>;
  /** Channels without a reading. */
  readonly missing: readonly VitalSign[];
  /** Does the shift count as an event, that is, should it be noticed? */
  readonly event: boolean;
}

/** A scenario: prepared once a simulation, then asked for each row in order. */
type Plan = (rows: number, prng: Prng) => (index: number) => Influence;

const NONE: Influence = { shift: {}, missing: [], event: false };

/** From 0 to 1 in a smooth curve while `x` goes from `start` to `end`. */
function ramp(x: number, start: number, end: number): number {
  const t = Math.min(1, Math.max(0, (x - start) / (end - start)));
  return t * t * (3 - 2 * t);
}

function scaled(shift: Record<VitalSign, number>, factor: number): Record<VitalSign, number> {
  return {
    HR: shift.HR * factor,
    PULSE: shift.PULSE * factor,
    RESP: shift.RESP * factor,
    SpO2: shift.SpO2 * factor,
  };
}

/** Stretches of rows that do not overlap, after the first quarter; `make` draws what each one is. */
function episodes<T>(
  rows: number,
  prng: Prng,
  pause: readonly [number, number],
  length: readonly [number, number],
  make: () => T,
): (index: number) => T | undefined {
  const list: { start: number; end: number; what: T }[] = [];
  let start = Math.ceil(rows / 4) + prng.integer(0, 10);
  while (start < rows) {
    const end = start + prng.integer(...length);
    list.push({ start, end, what: make() });
    start = end + prng.integer(...pause);
  }
  return (index) => list.find((episode) => index >= episode.start && index < episode.end)?.what;
}

/** All scenarios, by name. Nothing but calm before a quarter of the rows, drift apart. */
export const SCENARIOS = {
  /** A patient at rest. Every alarm is a false one. */
  calm: () => () => NONE,

  /**
   * Rate and breathing rise slowly all the time, as from morning to noon. Nothing to notice: a fixed
   * baseline will raise false alarms in the end, a rolling one should not.
   */
  drift: (rows) => (index) => ({
    ...NONE,
    shift: scaled({ HR: 20, PULSE: 20, RESP: 4, SpO2: 0 }, index / rows),
  }),

  /** From 40 % of the rows the patient exerts herself, and recovers between 65 % and 85 %. */
  exercise: (rows) => (index) => {
    const x = index / rows;
    const load = ramp(x, 0.4, 0.48) - ramp(x, 0.65, 0.85);
    const shift = scaled({ HR: 45, PULSE: 45, RESP: 12, SpO2: -1 }, load);
    return { shift, missing: [], event: load > 0.1 };
  },

  /** Movement: for 3 to 10 rows at a time the oximeter's pulse and saturation are nonsense. */
  artefact: (rows, prng) => {
    const burst = episodes(rows, prng, [30, 80], [3, 10], () => ({
      pulse: (prng.uniform() < 0.5 ? -1 : 1) * prng.integer(25, 45),
      saturation: -prng.integer(6, 15),
    }));
    return (index) => {
      const shape = burst(index);
      if (shape === undefined) return NONE;
      const shift = { PULSE: shape.pulse + 3 * prng.bell(), SpO2: shape.saturation };
      return { shift, missing: [], event: true };
    };
  },

  /** For 5 to 30 rows at a time a sensor is off: the oximeter, the breathing belt, or everything. */
  dropout: (rows, prng) => {
    const sensors: readonly (readonly VitalSign[])[] = [['PULSE', 'SpO2'], ['RESP'], VITAL_SIGNS];
    const off = episodes(rows, prng, [20, 60], [5, 30], () => sensors[prng.integer(0, 2)] ?? []);
    return (index) => ({ ...NONE, missing: off(index) ?? [] });
  },

  /**
   * From 40 % of the rows heart and breathing quicken and saturation falls, without recovery: fully
   * developed at 55 %.
   */
  deterioration: (rows) => (index) => {
    const severity = ramp(index / rows, 0.4, 0.55);
    const shift = scaled({ HR: 35, PULSE: 35, RESP: 12, SpO2: -9 }, severity);
    return { shift, missing: [], event: severity > 0 };
  },
} as const satisfies Record<string, Plan>;

/** The name of a scenario. */
export type Scenario = keyof typeof SCENARIOS;

/** The names of all scenarios. */
export const SCENARIO_NAMES = Object.keys(SCENARIOS) as readonly Scenario[];

/** A scenario for a simulation of so many rows. */
export function planScenario(
  scenario: Scenario,
  rows: number,
  prng: Prng,
): (index: number) => Influence {
  const plan: Plan = SCENARIOS[scenario];
  return plan(rows, prng);
}
