import { GENERATOR_FAMILIES, MODULUS_BITS_RANGE } from '@duoveil/common/bcp';
import type { GeneratorFamily } from '@duoveil/common/bcp';
import { requireFits } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { ENGINE_CHOICES, type EngineChoice } from '@duoveil/common/modular';
import { requireSecureBits } from '@duoveil/common/runtime';
import {
  addMonitoringOptions,
  parseMonitoringOptions,
  type Monitoring,
  type MonitoringValues,
} from '@duoveil/gateway/parts';
import { Option, type Command } from 'commander';

/** What to run. */
export interface RunOptions {
  /** Path of a recording. */
  readonly input: string;
  readonly monitoring: Monitoring;
  /** The monitoring options as they were given, for the gateway's own command. */
  readonly monitoringArguments: readonly string[];
  readonly keyBits: number;
  readonly generator: GeneratorFamily;
  readonly engine: EngineChoice;
  /** Data rows to run; all where undefined. */
  readonly limit: number | undefined;
  readonly realtime: boolean;
  readonly json: boolean;
}

/** The options' texts, as commander gives them. */
export interface RunValues extends MonitoringValues {
  readonly input?: string;
  readonly keyBits?: string;
  readonly insecureKeyBits?: boolean;
  readonly generator?: string;
  readonly engine?: string;
  readonly limit?: string;
  readonly realtime?: boolean;
  readonly json?: boolean;
}

const MONITORING_FLAGS = {
  channels: '--channels',
  schema: '--schema',
  window: '--window',
  baseline: '--baseline',
  retrainEvery: '--retrain-every',
  quantile: '--quantile',
  threshold: '--threshold',
  suite: '--suite',
  output: '--output',
} as const;

/** Declare the options. */
export function addRunOptions(command: Command): Command {
  command
    .option('--input <file>', 'the recording: CSV with a header, one row a sample')
    .option('--limit <rows>', 'only this many data rows from the beginning (default: all)')
    .option('--realtime', 'pace the rows at their own rate instead of as fast as they go')
    .option('--json', 'one JSON object a line on standard output, and nothing else there');
  addMonitoringOptions(command);
  for (const [flags, description] of [
    ['--key-bits <n>', 'length of the modulus in bits (default: 2048)'],
    ['--insecure-key-bits', 'allow fewer than 2048 bits, for a test: that protects nothing'],
    ['--generator <family>', `${GENERATOR_FAMILIES.join(' or ')} (default: residue)`],
    ['--engine <name>', `arithmetic: ${ENGINE_CHOICES.join(', ')} (default: auto)`],
  ] as const) {
    command.addOption(new Option(flags, description).helpGroup('The cryptosystem:'));
  }
  return command;
}

/**
 * Check the options, whatever can be checked before anything is started.
 * @throws DuoveilError `OPTION_INVALID`, `SCHEMA_INVALID`, `CONFIG_INVALID`, `BOUNDS_EXCEEDED`
 */
export async function parseRunOptions(values: RunValues): Promise<RunOptions> {
  if (values.input === undefined) throw optionInvalid('--input', 'is needed: the recording to run');
  const keyBits = wholeNumber('--key-bits', values.keyBits ?? '2048', MODULUS_BITS_RANGE.least);
  const { greatest } = MODULUS_BITS_RANGE;
  if (keyBits > greatest || keyBits % 64 !== 0) {
    throw optionInvalid('--key-bits', `must be a multiple of 64 up to ${greatest}`);
  }
  requireSecureBits(keyBits, values.insecureKeyBits === true);
  const monitoring = await parseMonitoringOptions(values);
  const family = oneOf('--generator', values.generator ?? 'residue', GENERATOR_FAMILIES);
  requireFits(monitoring.schema, monitoring.policy, { family, bits: keyBits });
  return {
    input: values.input,
    monitoring,
    monitoringArguments: Object.entries(MONITORING_FLAGS).flatMap(([key, flag]) => {
      const value = values[key as keyof typeof MONITORING_FLAGS];
      return value === undefined ? [] : [flag, String(value)];
    }),
    keyBits,
    generator: family,
    engine: oneOf('--engine', values.engine ?? 'auto', ENGINE_CHOICES),
    limit: values.limit === undefined ? undefined : wholeNumber('--limit', values.limit, 1),
    realtime: values.realtime === true,
    json: values.json === true,
  };
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
