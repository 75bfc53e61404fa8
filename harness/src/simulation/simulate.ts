/** A seeded simulation of bedside vital signs at 1 Hz: the same everywhere, with ground truth. */
import { duoveilError } from '@duoveil/common/errors';
import { seededPrng } from './prng.js';
import type { Prng } from './prng.js';
import { planScenario, SCENARIO_NAMES, VITAL_SIGNS } from './scenarios.js';
import type { Influence, Scenario, VitalSign } from './scenarios.js';

/** What to simulate. */
export interface SimulationOptions {
  /** An integer from 0 to 2^32 - 1; it decides everything that the other options leave open. */
  readonly seed: number;
  /** Number of data rows, one a second; 1 to 1,000,000. From about 200 on scenarios unfold. */
  readonly rows: number;
  readonly scenario: Scenario;
  /** Which channels, and in which order; default all four. Does not change the values of any. */
  readonly channels?: readonly string[] | undefined;
  /** Decimal places of the readings; default 0, as monitors record them. */
  readonly decimals?: 0 | 1 | undefined;
}

/**
 * What a row really is, as far as the chosen channels show it: `event` should be noticed, `missing`
 * lacks a reading, `calm` is anything else.
 */
export type Truth = 'calm' | 'event' | 'missing';

/** A simulated data row, in the form that sources have. */
export interface SimulatedRow {
  /** From 0. */
  readonly index: number;
  /** Readings by channel name; `undefined` where there is none. */
  readonly cells: Readonly<Record<string, string | undefined>>;
  /** The row's time in seconds. */
  readonly seconds: number;
}

/** A simulated recording. */
export interface Simulation {
  /** Column names: `Time [s]` and the channels. */
  readonly header: readonly string[];
  readonly rows: readonly SimulatedRow[];
  /** One label a row. */
  readonly truth: readonly Truth[];
}

/** Where a patient's values lie, and how they vary by themselves. */
interface Signal {
  /** The patient's level is drawn from this range. */
  readonly level: readonly [number, number];
  /** Standard deviation around it. */
  readonly deviation: number;
  /** Correlation of neighbouring rows. */
  readonly persistence: number;
}

const SIGNALS: Readonly<Record<'HR' | 'RESP' | 'SpO2', Signal>> = {
  HR: { level: [64, 86], deviation: 1.5, persistence: 0.95 },
  RESP: { level: [13, 18], deviation: 0.8, persistence: 0.9 },
  SpO2: { level: [96, 98], deviation: 0.5, persistence: 0.95 },
};

/** What the oximeter's count of the pulse differs from the heart's, as a standard deviation. */
const PULSE_DEVIATION = 0.4;

/** What a monitor would show at most: readings are held within. */
const SHOWN: Readonly<Record<VitalSign, readonly [number, number]>> = {
  HR: [25, 250],
  PULSE: [25, 250],
  RESP: [3, 70],
  SpO2: [50, 100],
};

/**
 * Simulate a recording. Equal options give equal recordings on every platform; simulations that
 * differ in their scenario only are equal where the scenario has no influence.
 * @throws DuoveilError OPTION_INVALID for an option outside of its range
 */
export function simulate(options: SimulationOptions): Simulation {
  const channels = checked(options);
  const patient = simulatePatient(seededPrng(options.seed));
  const influence = planScenario(options.scenario, options.rows, seededPrng(options.seed, 1));

  const rows: SimulatedRow[] = [];
  const truth: Truth[] = [];
  for (let index = 0; index < options.rows; index++) {
    const values = patient();
    const now = influence(index);
    const reading = (channel: VitalSign) =>
      now.missing.includes(channel)
        ? undefined
        : show(channel, values[channel] + (now.shift[channel] ?? 0), options.decimals ?? 0);
    const cells = Object.fromEntries(channels.map((channel) => [channel, reading(channel)]));
    rows.push({ index, cells, seconds: index });
    truth.push(labelOf(now, channels));
  }
  return { header: ['Time [s]', ...channels], rows, truth };
}

/** A simulation as a CSV file: a header line, one line a row, `NaN` for no reading. */
export function toCsv({ header, rows }: Simulation): string {
  const lines = rows.map(({ cells, seconds }) =>
    header.map((name, i) => (i === 0 ? String(seconds) : (cells[name] ?? 'NaN'))).join(','),
  );
  return [header.join(','), ...lines, ''].join('\n');
}

/** A patient's own variability: true values, row by row. */
function simulatePatient(prng: Prng): () => Record<VitalSign, number> {
  const signal = ({ level: [low, high], deviation, persistence }: Signal) => {
    const level = low + (high - low) * prng.uniform();
    // An autoregressive process of first order, in its stationary state from the start.
    const innovation = deviation * Math.sqrt(1 - persistence * persistence);
    let offset = deviation * prng.bell();
    return () => {
      offset = persistence * offset + innovation * prng.bell();
      return level + offset;
    };
  };
  const [heart, breath, saturation] = [
    signal(SIGNALS.HR),
    signal(SIGNALS.RESP),
    signal(SIGNALS.SpO2),
  ];
  return () => {
    const HR = heart();
    return { HR, PULSE: HR + PULSE_DEVIATION * prng.bell(), RESP: breath(), SpO2: saturation() };
  };
}

function show(channel: VitalSign, value: number, decimals: 0 | 1): string {
  const [low, high] = SHOWN[channel];
  const unit = decimals === 0 ? 1 : 10;
  return (Math.round(Math.min(high, Math.max(low, value)) * unit) / unit).toFixed(decimals);
}

function labelOf(influence: Influence, channels: readonly VitalSign[]): Truth {
  if (channels.some((channel) => influence.missing.includes(channel))) return 'missing';
  const shows = channels.some((channel) => (influence.shift[channel] ?? 0) !== 0);
  return influence.event && shows ? 'event' : 'calm';
}

function checked(options: SimulationOptions): readonly VitalSign[] {
  const require = (holds: boolean, option: string, right: string) => {
    if (!holds) throw duoveilError('OPTION_INVALID', `${option} must be ${right}`, { option });
  };
  const { seed, rows, scenario, channels = VITAL_SIGNS, decimals = 0 } = options;
  const whole = (value: number, from: number, to: number) =>
    Number.isInteger(value) && value >= from && value <= to;

  require(whole(seed, 0, 2 ** 32 - 1), 'seed', 'a whole number from 0 to 4294967295');
  require(whole(rows, 1, 1_000_000), 'rows', 'a whole number from 1 to 1000000');
  require(SCENARIO_NAMES.includes(scenario), 'scenario', `one of ${SCENARIO_NAMES.join(', ')}`);
  require(whole(decimals, 0, 1), 'decimals', '0 or 1');
  const chosen = channels.flatMap((name) => VITAL_SIGNS.filter((sign) => sign === name));
  const valid = chosen.length === channels.length && new Set(chosen).size === chosen.length;
  require(valid &&
    chosen.length > 0, 'channels', `different ones of ${VITAL_SIGNS.join(', ')}, at least one`);
  return chosen;
}
