/** A CSP, an SP with its dashboard, and some gateways that go on streaming until they are stopped. */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import type { EngineChoice } from '@duoveil/common/modular';
import { parsePatientId } from '@duoveil/common/runtime';

import { OperatorsAccess } from '../parties/operators-access.js';
import { engineArguments, Servers } from '../parties/servers.js';
import { Supervised } from '../parties/supervised.js';
import { WARD_RULES, WARD_WINDOW, type WardPatient } from './ward-patients.js';

const require = createRequire(import.meta.url);

/** What a ward is to be. */
export interface WardOptions {
  /** An existing directory for everything that the parties keep. */
  readonly directory: string;
  readonly patients: readonly WardPatient[];
  readonly keyBits: number;
  readonly engine: EngineChoice;
  /** Called with what a party says went wrong, and with restarts. */
  readonly onWarning: (line: string) => void;
}

/** See the file's comment. */
export class Ward {
  readonly servers: Servers;
  readonly access: OperatorsAccess;
  readonly #options: WardOptions;
  readonly #gateways: Supervised[] = [];

  private constructor(options: WardOptions, servers: Servers, access: OperatorsAccess) {
    this.#options = options;
    this.servers = servers;
    this.access = access;
  }

  /** Make what the parties need; start nothing yet. */
  static async prepare(options: WardOptions): Promise<Ward> {
    const { directory, keyBits, engine, onWarning } = options;
    const access = await OperatorsAccess.prepare(directory, {
      DUOVEIL_ALARM_RULES: WARD_RULES,
    });
    const servers = await Servers.prepare({
      ...{ directory, keyBits, engine, generator: 'residue', allowDistance: false },
      // The SP says where its pages are at this level.
      logLevel: 'info',
      environment: access.environment,
      onLog: (line) => {
        access.take(line);
        if (isWarning(line)) onWarning(line);
      },
    });
    return new Ward(options, servers, access);
  }

  /** Start both servers; where the dashboard is. */
  async startServers(): Promise<string> {
    await this.servers.setUp();
    await this.servers.startCsp();
    await this.servers.startSp();
    return this.access.url;
  }

  /** Enrol all patients, and let their gateways stream. */
  async startPatients(): Promise<void> {
    await Promise.all(this.#options.patients.map((patient) => this.#startPatient(patient)));
  }

  /** Rejects when a party has given up. */
  async untilFailure(): Promise<never> {
    const { csp, sp } = this.servers;
    await Promise.race([csp, sp].map(({ finished }) => finished));
    throw new Error('a server has ended');
  }

  /** Stop whatever was started. */
  async stop(): Promise<void> {
    await Promise.all(this.#gateways.map((gateway) => gateway.stop()));
    await this.servers.stop();
  }

  async #startPatient({ name, recording }: WardPatient): Promise<void> {
    const directory = join(this.#options.directory, `ward-${name}`);
    await mkdir(directory);
    const input = join(directory, 'recording.csv');
    await writeFile(input, recording);
    const connection = [
      ...['--sp', this.servers.address],
      ...['--tls', await this.servers.issueGateway(parsePatientId(name, 'patient'))],
      ...['--state', join(directory, 'state')],
    ];
    const passphrase = randomBytes(24).toString('base64');
    await this.#gateway(passphrase, ['enrol', ...connection, ...this.#enrolment()]).finished;
    const engine = engineArguments(this.#options.engine);
    const how = ['--input', input, '--realtime', '--json', ...engine];
    const stream = this.#gateway(passphrase, ['stream', ...connection, ...how]);
    stream.finished.catch((error: unknown) => {
      this.#options.onWarning(`the gateway of ${name} has ended: ${String(error)}`);
    });
  }

  #enrolment(): string[] {
    return [
      ...['--parameters-digest', this.servers.digest],
      ...['--window', String(WARD_WINDOW)],
      ...(this.#options.keyBits < 2048 ? ['--insecure-key-bits'] : []),
    ];
  }

  #gateway(passphrase: string, given: readonly string[]): Supervised {
    const gateway = new Supervised('gateway', () => ({
      programme: require.resolve('@duoveil/gateway/main'),
      arguments: given,
      environment: { DUOVEIL_GATEWAY_PASSPHRASE: passphrase },
      onLog: (line) => {
        if (isWarning(line)) this.#options.onWarning(line);
      },
    }));
    this.#gateways.push(gateway);
    return gateway;
  }
}

/** Whether a line of a log is a warning, or more. Why a programme ends is said by whoever waits for it. */
function isWarning(line: string): boolean {
  return /"level":"(warn|error)"/.test(line);
}
