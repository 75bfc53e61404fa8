import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import { abortReason, parsePatientId } from '@duoveil/common/runtime';
import { checkRecording, csvSource } from '@duoveil/gateway/parts';

import { engineArguments, Servers } from '../parties/servers.js';
import { Supervised } from '../parties/supervised.js';
import { parseEvent, type RowEvent, type Summary } from './events.js';
import type { RunOptions } from './options.js';
import type { Reporter } from './reporter.js';

const require = createRequire(import.meta.url);

const PATIENT = parsePatientId('patient-1', 'patient');

/** What a run came to. */
export interface RunResult {
  readonly rows: readonly RowEvent[];
  readonly summary: Summary;
}

/**
 * Start a throw-away CSP and SP, enrol a patient, stream a recording through a gateway, and report
 * every row. Whatever was started is stopped, however this ends; a party that is killed meanwhile is
 * started again and the run goes on.
 * @throws DuoveilError; the signal's reason once that is aborted
 */
export async function run(
  options: RunOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<RunResult> {
  const { input, limit, monitoring, keyBits, generator } = options;
  const { schema, policy } = monitoring;
  const channels = schema.channels.map(({ name }) => name);
  await checkRecording(csvSource({ path: input, channels, limit }), schema, policy.window, signal);

  reporter.begin({ input, schema, policy, keyBits, generator });
  const directory = await mkdtemp(join(tmpdir(), 'duoveil-run-'));
  let servers: Servers | undefined;
  let gateway: Supervised | undefined;
  let working: Promise<unknown> = Promise.resolve();
  const stage = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    reporter.stage(what);
    working = work();
    await untilAborted(working, signal);
    reporter.stageDone('done');
  };
  try {
    servers = await Servers.prepare({
      directory,
      keyBits,
      generator,
      engine: options.engine,
      allowDistance: policy.output === 'distance',
      logLevel: 'warn',
      onLog: (line) => {
        tell(reporter, line);
      },
    });
    const parties = servers;
    await stage('Drawing the master key', () => parties.setUp());
    await stage('Starting the crypto service provider', () => parties.startCsp());
    await stage('Starting the service provider', () => parties.startSp());
    const tls = await parties.issueGateway(PATIENT);
    const keyFile = join(directory, 'gateway.key');
    await writeFile(keyFile, randomBytes(32), { mode: 0o600 });
    const connection = [
      ...['--sp', parties.address, '--tls', tls],
      ...['--state', join(directory, 'gateway'), '--key-file', keyFile],
    ];
    const enrolment = (gateway = enrolPatient(options, connection, parties.digest));
    await stage('Enrolling the patient', () => enrolment.finished);
    const stream = new Stream(reporter);
    gateway = stream.start(options, connection);
    return await untilAborted(Promise.race([stream.result(gateway), failure(parties)]), signal);
  } finally {
    await gateway?.stop();
    await servers?.stop();
    // What a stage had begun has nothing left to work with; it must not write any more either.
    await working.catch(() => undefined);
    await rm(directory, { recursive: true, force: true });
  }
}

/** How a programme of ours says why it ends. Whoever started it says so in its place. */
const LAST_WORDS = /^duoveil: .* \[[A-Z_]+\]$/;

function tell(reporter: Reporter, line: string): void {
  if (!LAST_WORDS.test(line)) reporter.notice(line);
}

/** The servers are to go on until the run is over. */
function failure({ csp, sp }: Servers): Promise<never> {
  return Promise.race(
    [csp, sp].map(async (party) => {
      await party.finished;
      throw duoveilError('PEER_UNAVAILABLE', `the ${party.name} ended before the last row`, {
        peer: party.name,
      });
    }),
  );
}

function enrolPatient(
  { monitoringArguments, keyBits }: RunOptions,
  connection: readonly string[],
  digest: string,
): Supervised {
  return new Supervised('gateway', () => ({
    programme: require.resolve('@duoveil/gateway/main'),
    arguments: [
      'enrol',
      ...connection,
      ...['--parameters-digest', digest],
      ...(keyBits < 2048 ? ['--insecure-key-bits'] : []),
      ...monitoringArguments,
    ],
  }));
}

/** The gateway's output. A gateway that was started again begins at the first row: what was reported is left out. */
class Stream {
  readonly #reporter: Reporter;
  readonly #rows: RowEvent[] = [];
  #summary: Summary | undefined;

  constructor(reporter: Reporter) {
    this.#reporter = reporter;
  }

  start({ input, limit, realtime, engine }: RunOptions, connection: readonly string[]): Supervised {
    return new Supervised(
      'gateway',
      () => ({
        programme: require.resolve('@duoveil/gateway/main'),
        arguments: [
          'stream',
          ...connection,
          ...['--input', resolve(input)],
          ...(limit === undefined ? [] : ['--limit', String(limit)]),
          ...(realtime ? ['--realtime'] : []),
          ...engineArguments(engine),
          '--json',
        ],
        onOutput: (line) => {
          this.#take(line);
        },
        onLog: (line) => {
          tell(this.#reporter, line);
        },
      }),
      ({ signal }) => {
        this.#reporter.notice(`the gateway was ended by ${String(signal)} and is restarted`);
      },
    );
  }

  async result(gateway: Supervised): Promise<RunResult> {
    await gateway.finished;
    const summary = this.#summary;
    if (summary === undefined) {
      throw duoveilError('PEER_MISBEHAVED', 'the gateway ended before the last row', {
        peer: 'gateway',
      });
    }
    this.#reporter.summary(summary);
    return { rows: this.#rows, summary };
  }

  #take(line: string): void {
    const event = parseEvent(line);
    if ('summary' in event) this.#summary = event.summary;
    else if (event.index === this.#rows.length) {
      this.#rows.push(event);
      this.#reporter.row(event);
    }
  }
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    const stop = (): void => {
      reject(abortReason(signal));
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  work.catch(() => undefined);
  return Promise.race([work, aborted]);
}
