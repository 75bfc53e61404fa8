/** `duoveil gateway …`: the commands, their help, and what each prints. */
import { resolve } from 'node:path';

import { parseParametersDigest } from '@duoveil/common/bcp';
import { THRESHOLD_SCALE } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import { systemRandom } from '@duoveil/common/random';
import { createLogger, startTelemetry, untilStopped } from '@duoveil/common/runtime';
import type { Logger, LogLevel, StopReason } from '@duoveil/common/runtime';
import { Command } from 'commander';
import type { z } from 'zod';

import { readClocks } from './clock-file.js';
import {
  enrolSettings,
  initSettings,
  moveSettings,
  statisticsSettings,
  statusSettings,
  streamSettings,
  withGatewaySettings,
} from './cli-settings.js';
import { enrol } from './enrol.js';
import { describeFirstRows } from './first-rows.js';
import { jsonSummary, readableStatistics, readableSummary } from './format.js';
import { initialise } from './init.js';
import { move } from './move.js';
import {
  addChannelOptions,
  addMonitoringOptions,
  parseMonitoringOptions,
} from './monitoring-options.js';
import { writeLine } from './output.js';
import { openParty, requirePatient } from './party.js';
import { forgetSealingSecret, sealingSecret } from './sealing-secret.js';
import { keepMemorySmall } from './small-memory.js';
import { requireSource, selectSource, STANDARD_INPUT } from './sources/index.js';
import { peekProgress } from './spool-file.js';
import { openSpool } from './spool-key.js';
import { stateFiles } from './state-files.js';
import { readSecretKey, requireNotMoved, requireState, secretKeySealing } from './state.js';
import { fetchStatistics } from './statistics.js';
import { stream } from './stream.js';

/** `duoveil gateway …` */
export function gatewayCommand(): Command {
  const gateway = new Command('gateway')
    .description("the gateway: holds a patient's key, encrypts vital signs and streams them")
    .addHelpText(
      'after',
      '\nA gateway serves one patient. Write its settings down, enrol the patient once, then stream:\n' +
        '  $ duoveil gateway init --sp sp.example:7002 --tls tls/ --state ward-7/ \\\n' +
        '      --parameters-digest <hex> --generate-key-file ward-7.key\n' +
        '  $ duoveil gateway enrol --config ward-7/gateway.yaml\n' +
        '  $ duoveil gateway stream --config ward-7/gateway.yaml --input vitals.csv\n',
    );
  addChannelOptions(
    withGatewaySettings(
      gateway.command('init'),
      [
        ...(['sp', 'tls', 'state', 'parametersDigest'] as const),
        ...(['generateKeyFile', 'keyFile', 'passphraseFile'] as const),
        ...(['source', 'input', 'mapping', 'logLevel'] as const),
      ],
      initSettings,
      runInit,
    ),
  )
    .summary('make a state directory with a settings file for the other commands')
    .description(
      'Looks at the certificate and the files that the gateway is to use, and at the first rows or the ' +
        'mapping of what is to be streamed, makes the state directory and writes a settings file, ' +
        'gateway.yaml, into it, with comments. The other commands take it as --config. It talks to ' +
        'nobody, and overwrites nothing.',
    )
    .addHelpText('after', HELP_ON_SETTINGS);
  addMonitoringOptions(
    withGatewaySettings(
      gateway.command('enrol'),
      [
        'sp',
        'tls',
        'state',
        'parametersDigest',
        'passphraseFile',
        'keyFile',
        'insecureKeyBits',
        'engine',
        'logLevel',
      ],
      enrolSettings,
      runEnrol,
    ),
  )
    .summary('make a patient key and enrol the patient')
    .description(
      "Makes a patient's key and enrols the patient with the service provider. The patient is the one " +
        'that the TLS certificate names. The secret key never leaves the state directory and is sealed ' +
        'there. Enrolling again with the same options is harmless; what a patient is enrolled with ' +
        'cannot be changed afterwards.',
    )
    .addHelpText('after', HELP_ON_SETTINGS);
  withGatewaySettings(
    gateway.command('stream'),
    [
      ...(['sp', 'tls', 'state', 'passphraseFile', 'keyFile', 'source', 'input'] as const),
      ...([
        'mapping',
        'mqttPasswordFile',
        'withinMs',
        'keepZeros',
        'limit',
        'realtime',
        'json',
      ] as const),
      ...(['spoolMaxSamples', 'spoolMaxBytes', 'spoolKeepSamples'] as const),
      ...(['metricsListen', 'traceEndpoint', 'traceRatio', 'engine', 'logLevel'] as const),
    ],
    streamSettings,
    runStream,
  )
    .summary('encrypt what a source gives, stream it, print a result for every row')
    .description(
      'Encrypts readings and streams them to the service provider, and prints a result for every row. ' +
        'Nothing is lost and nothing counts twice if the connection breaks or the gateway is killed: ' +
        'start it again, and it goes on where it was. A recording (CSV, WFDB, NDJSON, FHIR) has an ' +
        'end, and all its results are printed each time, from the first row on. A live source (NDJSON ' +
        'or FHIR on standard input, MQTT) goes on until it ends or the gateway is stopped. Samples wait on ' +
        'disk, encrypted, until they are acknowledged: that takes the secret that sealed the ' +
        "patient's keys at enrolment.",
    )
    .addHelpText('after', HELP_ON_SETTINGS);
  withGatewaySettings(
    gateway.command('move'),
    [
      ...(['sp', 'tls', 'state', 'toSp', 'toState', 'parametersDigest'] as const),
      ...(['passphraseFile', 'keyFile', 'insecureKeyBits', 'engine', 'logLevel'] as const),
    ],
    moveSettings,
    runMove,
  )
    .summary('move the patient to another generation of keys, with the baseline')
    .description(
      'Moves a patient to a service provider of another generation of keys, without learning anew and ' +
        'without losing a sample: stop the stream, move, and stream from the new state directory to the ' +
        "new service provider. What waits is sent first. The samples behind the patient's baseline are " +
        "fetched, decrypted here with the patient's key, and sent under a new key. A move that was " +
        'interrupted goes on when it is done again.',
    )
    .addHelpText('after', HELP_ON_SETTINGS);
  withGatewaySettings(
    gateway.command('statistics'),
    ['sp', 'tls', 'state', 'passphraseFile', 'keyFile', 'json', 'engine', 'logLevel'],
    statisticsSettings,
    runStatistics,
  )
    .summary("fetch the patient's encrypted mean and covariance and decrypt them here")
    .description(
      "Fetches the encrypted sums behind the patient's baseline, decrypts them with the patient's own " +
        'secret key, and prints mean and covariance in the units of the channels.',
    )
    .addHelpText('after', HELP_ON_SETTINGS);
  withGatewaySettings(
    gateway.command('status'),
    ['state', 'json'],
    statusSettings,
    runStatus,
  ).description(
    'show what a state directory holds: the patient, how it is monitored, samples waiting',
  );
  return gateway;
}

const HELP_ON_SETTINGS =
  '\nEvery option may also be set by an environment variable (DUOVEIL_GATEWAY_STATE for --state) or in\n' +
  'the file of --config; the command line comes first, then the environment, then the file.\n' +
  '\nExit status: 0 done; 2 the input or an option is wrong; 1 anything else.\n';

async function runInit(settings: z.output<typeof initSettings>): Promise<void> {
  const logger = loggerOf(settings);
  const made = await initialise({ ...settings, random: systemRandom, logger });
  await writeLine(`the gateway of ${made.patient} is set up; its settings are in ${made.settings}`);
  if (made.firstRows !== undefined) await writeLine(describeFirstRows(made.firstRows));
  await writeLine('look through them, then enrol the patient:');
  await writeLine(`  duoveil gateway enrol --config ${made.settings}`);
}

async function runEnrol(settings: z.output<typeof enrolSettings>): Promise<void> {
  const pinned = parseParametersDigest(settings.parametersDigest, '--parameters-digest');
  const { schema, policy } = await parseMonitoringOptions(settings);
  const party = await openParty({ ...settings, logger: loggerOf(settings) });
  try {
    const { state, newKey } = await whileNotStopped((signal) =>
      enrol({
        ...party,
        signal,
        directory: settings.state,
        pinned,
        schema,
        policy,
        insecureKeyBits: settings.insecureKeyBits,
        sealingSecret: () => sealingSecret(settings),
        random: systemRandom,
      }),
    );
    const made = newKey ? 'with a new key' : 'with the key that was there';
    await writeLine(`${state.patient} is enrolled, ${made}; state in ${settings.state}`);
  } finally {
    await party.close();
  }
}

async function runStream(settings: z.output<typeof streamSettings>): Promise<void> {
  const { json, realtime } = settings;
  requireSource(settings);
  keepMemorySmall();
  const state = await requireState(settings.state);
  requireNotMoved(state);
  const selected = await selectSource(settings, state.schema.channels, process.stdin);
  const secret = await sealingSecret(settings);
  const party = await openParty({ ...settings, logger: loggerOf(settings) });
  const telemetry = await startTelemetry('gateway', settings, party.logger);
  try {
    requirePatient(state.patient, party.patient, settings.state);
    telemetry.follow({ isServing: () => true });
    const spool = await openSpool({
      directory: settings.state,
      patient: state.patient,
      secret,
      maxSamples: settings.spoolMaxSamples,
      maxBytes: settings.spoolMaxBytes,
      keepSamples: settings.spoolKeepSamples,
      random: systemRandom,
      logger: party.logger,
    });
    forgetSealingSecret(secret);
    try {
      const options = { ...party, selected, state, spool, realtime, json };
      const summary = await whileNotStopped(
        (signal) => stream({ ...options, directory: settings.state }, signal),
        // Standard input is the source's own, and its end the end of the readings.
        settings.input === STANDARD_INPUT ? {} : process.env,
      );
      await writeLine(json ? jsonSummary(summary) : readableSummary(summary));
    } finally {
      spool.close();
    }
  } finally {
    await telemetry.close();
    await party.close();
  }
}

async function runMove(settings: z.output<typeof moveSettings>): Promise<void> {
  const { state, toSp, toState, parametersDigest, insecureKeyBits } = settings;
  const secret = await sealingSecret(settings);
  const logger = loggerOf(settings);
  const party = await openParty({ ...settings, logger });
  const there = await openParty({ ...settings, sp: toSp, logger });
  try {
    requirePatient((await requireState(state)).patient, party.patient, state);
    const moved = await whileNotStopped((signal) =>
      move(
        {
          from: { connection: party.connection, directory: resolve(state) },
          to: { connection: there.connection, directory: resolve(toState) },
          ...{
            pinned: parseParametersDigest(parametersDigest, '--parameters-digest'),
            insecureKeyBits,
          },
          ...{ secret, engine: party.engine, random: systemRandom, logger },
        },
        signal,
      ),
    );
    const samples = moved.moved?.samples ?? 0;
    await writeLine(`${moved.patient} has moved, with the ${samples} samples behind the baseline`);
    await writeLine(
      `stream from now on: duoveil gateway stream --sp ${toSp} --state ${toState} ..`,
    );
  } finally {
    await there.close();
    await party.close();
  }
}

async function runStatistics(settings: z.output<typeof statisticsSettings>): Promise<void> {
  const state = await requireState(settings.state);
  const { patient, parameters } = state;
  const secret = await sealingSecret(settings);
  const secretKey = await readSecretKey(settings.state, patient, parameters, secret);
  if (secretKey === undefined) {
    throw duoveilError('CONFIG_INVALID', `--state: ${settings.state} holds no secret key`, {
      path: 'state',
    });
  }
  const party = await openParty({ ...settings, logger: loggerOf(settings) });
  try {
    requirePatient(patient, party.patient, settings.state);
    const statistics = await fetchStatistics(party.connection, state, secretKey, party.engine);
    if (settings.json) await writeLine(JSON.stringify(statistics));
    else for (const line of readableStatistics(statistics)) await writeLine(line);
  } finally {
    await party.close();
  }
}

async function runStatus(settings: z.output<typeof statusSettings>): Promise<void> {
  const { patient, trustDomain, parameters, schema, policy, moved, movedTo } = await requireState(
    settings.state,
  );
  const sealedWith = await secretKeySealing(settings.state);
  const status = {
    patient,
    trustDomain,
    secretKey: sealedWith === undefined ? 'missing' : `sealed with a ${sealedWith}`,
    parametersDigest: parameters.digest,
    keyBits: parameters.bits,
    channels: schema.channels.map(({ name }) => name),
    ...policy,
    thresholdScaled: undefined,
    higherThresholdsScaled: undefined,
    thresholds: [policy.thresholdScaled, ...policy.higherThresholdsScaled].map(
      (scaled) => Number(scaled) / Number(THRESHOLD_SCALE),
    ),
    movedSamples: moved?.samples,
    movedTo,
    ...spoolStatus(stateFiles(settings.state).spool),
    ...(await clockStatus(settings.state)),
  };
  if (settings.json) {
    await writeLine(JSON.stringify(status));
    return;
  }
  for (const [name, value] of Object.entries(status)) {
    if (value !== undefined) await writeLine(`${name.padEnd(21)}${String(value)}`);
  }
}

async function clockStatus(
  directory: string,
): Promise<Readonly<Record<string, number | undefined>>> {
  const { device, serviceProvider } = await readClocks(directory);
  return { deviceClockAheadMs: device, providerClockAheadMs: serviceProvider };
}

function spoolStatus(file: string): Readonly<Record<string, number | string | undefined>> {
  const progress = peekProgress(file);
  if (progress === undefined) return { samplesAcknowledged: 0, samplesKept: 0, samplesWaiting: 0 };
  const { acknowledged, last, recording, kept } = progress;
  return {
    samplesAcknowledged: acknowledged,
    samplesKept: kept,
    samplesWaiting: last - acknowledged,
    recording: recording ?? undefined,
  };
}

function loggerOf({ logLevel }: { readonly logLevel: LogLevel }): Logger {
  return createLogger({ service: 'gateway', level: logLevel });
}

/**
 * Does something until it is done, or the process is asked to stop: that is no error, but not the
 * end of the work either.
 */
async function whileNotStopped<T>(
  work: (signal: AbortSignal) => Promise<T>,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<T> {
  const stopping = new AbortController();
  void untilStopped(environment).then((reason) => {
    stopping.abort(stopped(reason));
  });
  try {
    return await work(stopping.signal);
  } finally {
    // Listening for its end keeps the process alive.
    process.stdin.pause();
  }
}

function stopped(reason: StopReason): Error {
  return duoveilError('NOT_READY', `stopped before the end (${reason}); start again to go on`);
}
