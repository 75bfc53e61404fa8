/** The options that say what is monitored and how: the same wherever a patient is enrolled. */
import {
  DEFAULT_CHANNELS,
  DEFAULT_LEVEL_QUANTILES,
  DEFAULT_QUANTILE,
  DEFAULT_RETRAIN_EVERY,
  DEFAULT_WINDOW,
  parsePolicy,
  parseSchema,
  parseThreshold,
  scaledThreshold,
  selectChannels,
} from '@duoveil/common/encoding';
import type { MonitoringPolicy, Schema } from '@duoveil/common/encoding';
import { duoveilError, isDuoveilError } from '@duoveil/common/errors';
import { readSettingFile } from '@duoveil/common/runtime';
import { Option } from 'commander';
import type { Command } from 'commander';
import { parse as parseYaml } from 'yaml';

/** The options' values: texts from the command line, or what a settings file holds. */
export interface MonitoringValues {
  /** Names, in one text with commas, or as a list. */
  readonly channels?: string | readonly string[] | undefined;
  /** Path of a file with channels. */
  readonly schema?: string | undefined;
  readonly window?: string | number | undefined;
  readonly baseline?: string | undefined;
  readonly retrainEvery?: string | number | undefined;
  /** One, or with level output several, in one text with commas or as a list. */
  readonly quantile?: string | number | readonly (string | number)[] | undefined;
  readonly threshold?: string | number | readonly (string | number)[] | undefined;
  readonly suite?: string | undefined;
  readonly output?: string | undefined;
}

/** What is monitored, and how. */
export interface Monitoring {
  readonly schema: Schema;
  readonly policy: MonitoringPolicy;
}

const GROUP = 'What is monitored, and how:';

type Described = readonly [flags: string, description: string];

/** Declares the options that say what is monitored. None has a default there: other layers can set it. */
export function addChannelOptions(command: Command): Command {
  const names = DEFAULT_CHANNELS.map(({ name }) => name).join(',');
  return addGroup(command, [
    [
      '--channels <names>',
      `columns to monitor, by header name, separated by commas (default: ${names})`,
    ],
    ['--schema <file>', 'YAML or JSON file that defines channels of your own'],
  ]);
}

/** Declares those and the ones that say how. None has a default there: other layers can set it. */
export function addMonitoringOptions(command: Command): Command {
  return addGroup(addChannelOptions(command), [
    [
      '--window <n>',
      `number of complete samples that make a baseline (default: ${DEFAULT_WINDOW})`,
    ],
    [
      '--baseline <kind>',
      'fixed: the first samples, for good; rolling: the last ones that were no outliers (default: fixed)',
    ],
    [
      '--retrain-every <k>',
      `with a rolling baseline: accepted samples between trainings (default: ${DEFAULT_RETRAIN_EVERY})`,
    ],
    [
      '--quantile <q>',
      `quantile of the chi-square distribution beyond which a sample is an outlier; with level output several, separated by commas (default: ${DEFAULT_QUANTILE}, for levels ${DEFAULT_LEVEL_QUANTILES.join(',')})`,
    ],
    [
      '--threshold <t>',
      'the threshold for the squared distance itself, or several, instead of quantiles',
    ],
    ['--suite <name>', 'family of protocols: reference or packed (default: packed)'],
    [
      '--output <what>',
      'what the service provider learns of a sample: level, or distance (default: level; distance with the reference suite)',
    ],
  ]);
}

function addGroup(command: Command, options: readonly Described[]): Command {
  for (const [flags, description] of options) {
    command.addOption(new Option(flags, description).helpGroup(GROUP));
  }
  return command;
}

/**
 * Reads the options' values.
 * @throws OPTION_INVALID, naming the option and what would be right; for the file that `--schema`
 * names CONFIG_INVALID or SCHEMA_INVALID, naming the file and the field
 */
export async function parseMonitoringOptions(values: MonitoringValues): Promise<Monitoring> {
  const schema = await parseChannelOptions(values);
  const policy = readPolicy(values, schema);
  return { schema, policy };
}

/** The options that say what is monitored. */
export type ChannelValues = Pick<MonitoringValues, 'channels' | 'schema'>;

/**
 * Reads what is monitored.
 * @throws as {@link parseMonitoringOptions}
 */
export async function parseChannelOptions({
  channels,
  schema: file,
}: ChannelValues): Promise<Schema> {
  const available = file === undefined ? DEFAULT_CHANNELS : (await readSchemaFile(file)).channels;
  const names = typeof channels === 'string' ? channels.split(',') : channels;
  if (names === undefined) return { channels: available };
  return asOption('--channels', () => selectChannels(names, available));
}

async function readSchemaFile(file: string): Promise<Schema> {
  const text = (await readSettingFile(file, '--schema')).toString('utf8');
  let content: unknown;
  try {
    content = parseYaml(text);
  } catch (cause) {
    const message = `--schema: ${file} is neither YAML nor JSON`;
    throw duoveilError('CONFIG_INVALID', message, { path: '--schema' }, { cause });
  }
  return parseSchema(content, file);
}

function readPolicy(values: MonitoringValues, schema: Schema): MonitoringPolicy {
  const { window, baseline, retrainEvery, suite, output } = values;
  const wantedOutput = output ?? (suite === 'reference' ? 'distance' : 'level');
  const fields = {
    window: wholeNumber(window ?? DEFAULT_WINDOW),
    baseline: baseline ?? 'fixed',
    retrainEvery: wholeNumber(retrainEvery ?? DEFAULT_RETRAIN_EVERY),
    suite: suite ?? 'packed',
    output: wantedOutput,
    ...readThresholds(values, schema, wantedOutput === 'level'),
  };
  return asOption(undefined, () => parsePolicy(fields, schema, POLICY));
}

/** One threshold, or for level output several, ascending: the first one makes an outlier. */
function readThresholds(
  { quantile, threshold }: MonitoringValues,
  schema: Schema,
  levels: boolean,
): Pick<MonitoringPolicy, 'thresholdScaled' | 'higherThresholdsScaled'> {
  if (threshold !== undefined && quantile !== undefined) {
    throw optionInvalid('--threshold', 'give either this or --quantile, not both');
  }
  const degrees = schema.channels.length;
  const scaled =
    threshold === undefined
      ? asOption('--quantile', () =>
          listOf(quantile ?? (levels ? DEFAULT_LEVEL_QUANTILES : DEFAULT_QUANTILE)).map((text) =>
            scaledThreshold(Number(text), degrees),
          ),
        )
      : asOption('--threshold', () => listOf(threshold).map(parseThreshold));
  const [thresholdScaled, ...higherThresholdsScaled] = scaled;
  if (thresholdScaled === undefined) throw optionInvalid('--threshold', 'must not be empty');
  return { thresholdScaled, higherThresholdsScaled };
}

function listOf(value: string | number | readonly (string | number)[]): (string | number)[] {
  if (typeof value === 'string') return value.split(',').map((item) => item.trim());
  return typeof value === 'number' ? [value] : [...value];
}

/** Digits only: no sign, no fraction, no exponent. What is none stays as it is, to be refused. */
function wholeNumber(value: string | number): unknown {
  return typeof value === 'string' && /^\d{1,15}$/.test(value.trim()) ? Number(value) : value;
}

const POLICY = 'the options';

const flags: Readonly<Record<string, string>> = {
  window: '--window',
  baseline: '--baseline',
  retrainEvery: '--retrain-every',
  thresholdScaled: '--threshold',
  higherThresholdsScaled: '--threshold or --quantile',
  suite: '--suite',
  output: '--output',
};

/** What the encoding refuses, as an error that names the option. */
function asOption<T>(option: string | undefined, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!isDuoveilError(error, 'SCHEMA_INVALID')) throw error;
    const { field } = error.details;
    const message = error.message.replace(`${POLICY}: ${field} `, '').replace(/^\w+: /, '');
    throw optionInvalid(option ?? flags[field] ?? field, message);
  }
}

function optionInvalid(option: string, message: string): Error {
  return duoveilError('OPTION_INVALID', `${option}: ${message}`, { option });
}
