/**
 * The settings of `duoveil gateway …`: by flag, then environment (`DUOVEIL_GATEWAY_…`), then YAML file,
 * then default. One file serves all of the commands: each takes from it what it needs.
 */
import { duoveilError, isDuoveilError } from '@duoveil/common/errors';
import { ENGINE_CHOICES } from '@duoveil/common/modular';
import {
  logLevels,
  resolveSettings,
  secretSetting,
  telemetrySettings,
} from '@duoveil/common/runtime';
import { Option } from 'commander';
import type { Command } from 'commander';
import { z } from 'zod';

import { SOURCE_KINDS } from './sources/index.js';
import {
  DEFAULT_KEEP_SAMPLES,
  DEFAULT_MAX_BYTES,
  DEFAULT_MAX_SAMPLES,
  LEAST_MAX_BYTES,
} from './spool.js';

const path = z.string().min(1);
const textOrNumber = z.union([z.string(), z.number()], 'must be a text or a number');

const textOrNumbers = z.union(
  [z.string(), z.number(), z.array(z.union([z.string(), z.number()]))],
  'must be a number, or several',
);

/** Every setting there is, none of them required. */
const all = {
  sp: path.optional(),
  tls: path.optional(),
  state: path.optional(),
  toSp: path.optional(),
  toState: path.optional(),
  parametersDigest: z.string().optional(),
  passphrase: secretSetting().optional(),
  keyFile: path.optional(),
  insecureKeyBits: z.boolean().default(false),
  channels: z.union([z.string(), z.array(z.string())], 'must be names').optional(),
  schema: path.optional(),
  window: textOrNumber.optional(),
  baseline: z.string().optional(),
  retrainEvery: textOrNumber.optional(),
  quantile: textOrNumbers.optional(),
  threshold: textOrNumbers.optional(),
  suite: z.string().optional(),
  output: z.string().optional(),
  input: path.optional(),
  limit: z
    .int('must be a whole number of rows, 1 or more')
    .min(1, 'must be a whole number of rows, 1 or more')
    .optional(),
  realtime: z.boolean().default(false),
  source: z.enum(SOURCE_KINDS, `must be one of ${SOURCE_KINDS.join(', ')}`).optional(),
  withinMs: z
    .int('must be a whole number of milliseconds, 0 or more')
    .min(0, 'must be a whole number of milliseconds, 0 or more')
    .default(500),
  keepZeros: z.boolean().default(false),
  mapping: path.optional(),
  mqttPassword: secretSetting().optional(),
  json: z.boolean().default(false),
  spoolMaxSamples: z
    .int('must be a whole number of samples, 1 or more')
    .min(1, 'must be a whole number of samples, 1 or more')
    .default(DEFAULT_MAX_SAMPLES),
  spoolKeepSamples: z
    .int('must be a whole number of samples, 0 or more')
    .min(0, 'must be a whole number of samples, 0 or more')
    .default(DEFAULT_KEEP_SAMPLES),
  spoolMaxBytes: z
    .int('must be a whole number of bytes')
    .min(LEAST_MAX_BYTES, `must be ${LEAST_MAX_BYTES} bytes or more`)
    .default(DEFAULT_MAX_BYTES),
  ...telemetrySettings,
  engine: z.enum(ENGINE_CHOICES, `must be one of ${ENGINE_CHOICES.join(', ')}`).default('auto'),
  logLevel: z.enum(logLevels, `must be one of ${logLevels.join(', ')}`).default('warn'),
} as const;

const connected = { ...all, sp: path, tls: path, state: path };

/** Settings of `init`; the passphrase stays where it is. */
export const initSettings = z
  .object({
    ...connected,
    parametersDigest: z.string(),
    passphraseFile: path.optional(),
    generateKeyFile: path.optional(),
  })
  .omit({ passphrase: true });

/** Settings of `enrol`. */
export const enrolSettings = z.object({ ...connected, parametersDigest: z.string() });

/** Settings of `stream`. */
export const streamSettings = z.object(connected);

/** Settings of `move`. */
export const moveSettings = z.object({
  ...connected,
  toSp: path,
  toState: path,
  parametersDigest: z.string(),
});

/** Settings of `statistics`. */
export const statisticsSettings = z.object(connected);

/** Settings of `status`. */
export const statusSettings = z.object({ ...all, state: path });

/** What the commands' options say, in commander's notation. */
const descriptions = {
  sp: ['--sp <host:port>', 'where the service provider listens'],
  tls: ['--tls <directory>', "the gateway's ca.crt, tls.crt and tls.key; they name the patient"],
  state: [
    '--state <directory>',
    "this patient's own directory: keys, settings, samples on the way",
  ],
  toSp: ['--to-sp <host:port>', 'where the service provider listens that the patient moves to'],
  toState: ['--to-state <directory>', "the patient's new directory; made if need be"],
  parametersDigest: [
    '--parameters-digest <hex>',
    'digest of the only parameters to accept, as "duoveil csp init" printed it',
  ],
  passphraseFile: [
    '--passphrase-file <file>',
    "file with the passphrase that seals the patient's keys; or set DUOVEIL_GATEWAY_PASSPHRASE",
  ],
  keyFile: [
    '--key-file <file>',
    "file with a 32-byte key that seals the patient's keys, instead of a passphrase",
  ],
  generateKeyFile: [
    '--generate-key-file <file>',
    'write such a key file, new and random, for the owner alone',
  ],
  insecureKeyBits: [
    '--insecure-key-bits',
    'accept a modulus of fewer than 2048 bits, for a test: it protects nothing',
  ],
  source: [
    '--source <kind>',
    `${SOURCE_KINDS.join(', ')} (default: by the name's end; .csv, .hea, .ndjson, .json)`,
  ],
  input: ['--input <file>', 'a recording, or - for what comes in on standard input'],
  mapping: ['--mapping <file>', 'YAML file for a broker: its address, topics and what is where'],
  mqttPasswordFile: [
    '--mqtt-password-file <file>',
    "file with the broker's password; or set DUOVEIL_GATEWAY_MQTT_PASSWORD",
  ],
  withinMs: [
    '--within-ms <ms>',
    'readings that come one by one make a row when they are so close in time (default: 500)',
  ],
  keepZeros: ['--keep-zeros', 'a 0 in a WFDB record is a reading, not the lack of a signal'],
  limit: ['--limit <rows>', 'only this many data rows from the beginning (default: all)'],
  realtime: [
    '--realtime',
    "pace a recording's rows by their times, else one a second, instead of as fast as they go",
  ],
  json: ['--json', 'one JSON object a line on standard output, and nothing else there'],
  spoolMaxSamples: [
    '--spool-max-samples <n>',
    `the most samples that are on disk (default: ${DEFAULT_MAX_SAMPLES})`,
  ],
  spoolMaxBytes: [
    '--spool-max-bytes <n>',
    `the most bytes that they may take there (default: ${DEFAULT_MAX_BYTES})`,
  ],
  spoolKeepSamples: [
    '--spool-keep-samples <n>',
    'the most of them that are acknowledged, kept for a service provider that is restored from a backup ' +
      `(default: ${DEFAULT_KEEP_SAMPLES})`,
  ],
  metricsListen: [
    '--metrics-listen <host:port>',
    'serve /metrics, /healthz and /readyz there over plain HTTP (default: off)',
  ],
  traceEndpoint: [
    '--trace-endpoint <url>',
    'OTLP/HTTP collector, as http://host:4318/v1/traces (default: off)',
  ],
  traceRatio: ['--trace-ratio <share>', 'share of the samples that are traced (default: 1)'],
  engine: ['--engine <name>', `arithmetic: ${ENGINE_CHOICES.join(', ')} (default: auto)`],
  logLevel: ['--log-level <level>', `${logLevels.join(', ')} (default: warn)`],
} as const satisfies Record<string, readonly [flags: string, description: string]>;

/** A setting that has an option of its own here; monitoring options are declared elsewhere. */
export type OptionName = keyof typeof descriptions;

/**
 * Gives a command options for some settings, `--config`, and an action.
 * @param run gets the settings, resolved and checked
 */
export function withGatewaySettings<S extends z.ZodObject>(
  command: Command,
  names: readonly OptionName[],
  schema: S,
  run: (settings: z.output<S>) => Promise<void>,
): Command {
  for (const name of names) {
    const [flags, description] = descriptions[name];
    command.addOption(new Option(flags, description));
  }
  return command
    .option('--config <file>', 'YAML file of settings, named as the options: sp, tls, state, ..')
    .action(async (flags: Readonly<Record<string, unknown>>) => {
      const { config } = flags;
      const file = typeof config === 'string' ? config : undefined;
      await run(await resolve(schema, flags, file));
    });
}

const PREFIX = 'DUOVEIL_GATEWAY_';

/** The gateway's variables have a prefix of their own: its passphrase is not another party's. */
async function resolve<S extends z.ZodObject>(
  schema: S,
  flags: Readonly<Record<string, unknown>>,
  file: string | undefined,
): Promise<z.output<S>> {
  const own = Object.entries(process.env)
    .filter(([name]) => name.startsWith(PREFIX))
    .map(([name, value]) => [`DUOVEIL_${name.slice(PREFIX.length)}`, value]);
  const { DUOVEIL_LOG_LEVEL } = process.env;
  const environment = { DUOVEIL_LOG_LEVEL, ...Object.fromEntries(own) } as Readonly<
    Record<string, string | undefined>
  >;
  try {
    return await resolveSettings({ schema, flags, environment, file });
  } catch (error) {
    throw withPrefix(error);
  }
}

/** The error, naming variables as they are named here. */
function withPrefix(error: unknown): unknown {
  const named = (text: string): string => text.replace(/\bDUOVEIL_(?!GATEWAY_)/g, PREFIX);
  if (isDuoveilError(error, 'OPTION_INVALID')) {
    return duoveilError(error.code, named(error.message), { option: named(error.details.option) });
  }
  return error;
}
