import { duoveilError } from '@duoveil/common/errors';
import { DEFAULT_CHANNELS, MAX_WINDOW } from '@duoveil/common/encoding';
import { ENGINE_CHOICES, type EngineChoice } from '@duoveil/common/modular';
import { requireSecureBits } from '@duoveil/common/runtime';
import { PUBLIC_TEST_PRIMES, type TestModulusBits } from '@duoveil/harness/local';
import { Option, type Command } from 'commander';

/** The suites that can be measured. */
export const SUITES = ['reference', 'packed'] as const;

export type SuiteName = (typeof SUITES)[number];

/** A ward: patients who are all watched at once, in real time. */
export interface LoadPlan {
  readonly patients: number;
  /** Samples a second of each patient. */
  readonly rate: number;
  /** For how long all of them stream, in seconds. */
  readonly seconds: number;
}

/** What to measure. */
export interface BenchOptions {
  readonly suites: readonly SuiteName[];
  readonly keyBits: TestModulusBits;
  readonly window: number;
  readonly engine: EngineChoice;
  /** How long to stream as fast as it goes. */
  readonly seconds: number;
  /** Samples of a long run that is measured instead of the suites; undefined for none. */
  readonly soak: number | undefined;
  /** A ward that is measured instead of the suites; undefined for none. */
  readonly load: LoadPlan | undefined;
  readonly json: boolean;
}

/** The options' texts, as commander gives them. */
export interface BenchValues {
  readonly suite?: string;
  readonly keyBits?: string;
  readonly insecureKeyBits?: boolean;
  readonly window?: string;
  readonly engine?: string;
  readonly seconds?: string;
  readonly soak?: string;
  readonly load?: boolean;
  readonly patients?: string;
  readonly rate?: string;
  readonly duration?: string;
  readonly json?: boolean;
}

/** Declare the options. */
export function addBenchOptions(command: Command): Command {
  const bits = keyBitsKnown().join(', ');
  for (const [flags, description] of [
    ['--suite <name>', 'what to measure: reference, packed or all (default: all)'],
    ['--key-bits <n>', `length of the modulus in bits: ${bits} (default: 2048)`],
    ['--insecure-key-bits', 'allow fewer than 2048 bits'],
    ['--window <n>', 'samples that make a baseline (default: 20; with --load 60)'],
    ['--engine <name>', `arithmetic: ${ENGINE_CHOICES.join(', ')} (default: auto)`],
    ['--seconds <n>', 'how long to stream from many patients at once (default: 10)'],
    ['--soak <samples>', 'score this many samples and report the memory of both servers instead'],
    ['--load', 'watch a ward in real time and report how late decisions are instead'],
    ['--patients <n>', 'with --load: patients of the ward (default: 100)'],
    ['--rate <n>', 'with --load: samples a second of each patient (default: 1)'],
    ['--duration <seconds>', 'with --load: for how long all of them stream (default: 600)'],
    ['--json', 'one JSON object on standard output, and nothing else there'],
  ] as const) {
    command.addOption(new Option(flags, description));
  }
  return command;
}

/** @throws DuoveilError `OPTION_INVALID` */
export function parseBenchOptions(values: BenchValues): BenchOptions {
  const bits = wholeNumber('--key-bits', values.keyBits ?? '2048', 1);
  const keyBits = keyBitsKnown().find((known) => known === bits);
  if (keyBits === undefined) {
    throw optionInvalid('--key-bits', `must be one of ${keyBitsKnown().join(', ')}`);
  }
  requireSecureBits(keyBits, values.insecureKeyBits === true);
  const load = loadPlan(values);
  const usual = load === undefined ? '20' : '60';
  const window = wholeNumber('--window', values.window ?? usual, DEFAULT_CHANNELS.length + 2);
  if (window > MAX_WINDOW) throw optionInvalid('--window', `must be at most ${MAX_WINDOW}`);
  const suite = oneOf('--suite', values.suite ?? 'all', [...SUITES, 'all'] as const);
  return {
    suites: suite === 'all' ? SUITES : [suite],
    keyBits,
    window,
    engine: oneOf('--engine', values.engine ?? 'auto', ENGINE_CHOICES),
    seconds: wholeNumber('--seconds', values.seconds ?? '10', 1),
    soak: values.soak === undefined ? undefined : wholeNumber('--soak', values.soak, 1),
    load,
    json: values.json === true,
  };
}

function loadPlan(values: BenchValues): LoadPlan | undefined {
  if (values.load !== true) {
    for (const name of ['patients', 'rate', 'duration'] as const) {
      if (values[name] !== undefined) throw optionInvalid(`--${name}`, 'goes with --load only');
    }
    return undefined;
  }
  if (values.soak !== undefined) throw optionInvalid('--soak', 'does not go with --load');
  return {
    patients: wholeNumber('--patients', values.patients ?? '100', 1),
    rate: wholeNumber('--rate', values.rate ?? '1', 1),
    seconds: wholeNumber('--duration', values.duration ?? '600', 1),
  };
}

/** Operations are counted over public primes of these lengths. */
function keyBitsKnown(): TestModulusBits[] {
  return Object.keys(PUBLIC_TEST_PRIMES).map((bits) => Number(bits) as TestModulusBits);
}

function wholeNumber(option: string, text: string, least: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (!(value >= least)) throw optionInvalid(option, `must be a whole number from ${least} on`);
  return value;
}

function oneOf<T extends string>(option: string, text: string, names: readonly T[]): T {
  const name = names.find((candidate) => candidate === text);
  if (name === undefined) throw optionInvalid(option, `must be one of ${names.join(', ')}`);
  return name;
}

function optionInvalid(option: string, message: string): Error {
  return duoveilError('OPTION_INVALID', `${option}: ${message}`, { option });
}
