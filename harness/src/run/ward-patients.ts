/** The simulated patients of a demonstration that goes on: five are calm, one deteriorates again and again. */
import { simulate, toCsv, type SimulatedRow, type Simulation } from '../simulation/index.js';

/** A patient, with what the gateway is to stream. */
export interface WardPatient {
  readonly name: string;
  /** A CSV file's content; its times are those of `--realtime`. */
  readonly recording: string;
}

/** Complete samples of a baseline: few, so that somebody who looks on does not wait. */
export const WARD_WINDOW = 20;

/** Rules that are quicker than the default, for somebody who looks on. */
export const WARD_RULES = '1:20/30,3:5/10';

/** Rows from the first one to the first that shows the deterioration. */
const ONSET = 25;

/** Seeds of patients who stay calm by a baseline of {@link WARD_WINDOW} samples; the last one deteriorates. */
export const WARD_SEEDS = [3, 7, 21, 22, 57, 30] as const;

/** Rows of a cycle, and how many of them are worse than the patient was. */
const CYCLE = { rows: 330, until: 200 } as const;

/** Half a day at a row a second. */
const CYCLES = 130;

/** All patients. */
export function wardPatients(): WardPatient[] {
  return WARD_SEEDS.map((seed, i) => ({
    name: `bed-${String(i + 1)}`,
    recording: recordingOf(cycle(seed, i === WARD_SEEDS.length - 1), { times: CYCLES, seconds: 1 }),
  }));
}

/** A patient's rows, calm at the end as at the beginning. */
export function cycle(seed: number, deteriorates: boolean): readonly SimulatedRow[] {
  const calm = simulate({ seed, rows: CYCLE.rows, scenario: 'calm' }).rows;
  if (!deteriorates) return calm;
  // It begins at 40 % of a simulation's rows, and is fully there at 55 %.
  const all = simulate({ seed, rows: 300, scenario: 'deterioration' }).rows;
  const worse = all.slice(300 * 0.4 - ONSET);
  return [...worse.slice(0, CYCLE.until), ...calm.slice(CYCLE.until)];
}

/** Rows, again and again, as one recording with a row every so many seconds. */
export function recordingOf(
  rows: readonly SimulatedRow[],
  { times, seconds }: { readonly times: number; readonly seconds: number },
): string {
  const all: Simulation = {
    header: simulate({ seed: 0, rows: 1, scenario: 'calm' }).header,
    truth: [],
    rows: Array.from({ length: times * rows.length }, (_, index) => {
      const { cells } = rows[index % rows.length] ?? { cells: {} };
      return { index, cells, seconds: Number((index * seconds).toFixed(3)) };
    }),
  };
  return toCsv(all);
}
