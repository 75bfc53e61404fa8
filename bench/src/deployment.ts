/** Throw-away servers with a probe in each, and patients of theirs. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import {
  DEFAULT_CHANNELS,
  DEFAULT_LEVEL_QUANTILES,
  DEFAULT_QUANTILE,
  scaledThreshold,
} from '@duoveil/common/encoding';
import type { MonitoringPolicy, Output, Schema } from '@duoveil/common/encoding';
import { duoveilError } from '@duoveil/common/errors';
import type { EngineChoice, ModularEngine } from '@duoveil/common/modular';
import { Servers } from '@duoveil/harness/parties';

import type { SuiteName } from './options.js';
import { Patient } from './patient.js';
import {
  PROBE_FILE_VARIABLE,
  readProbes,
  seenBetween,
  type ProbeLine,
  type Seen,
} from './probe-file.js';
import { ServerLog } from './server-log.js';

/** What every benchmark's patients are watched for. */
export const SCHEMA: Schema = { channels: DEFAULT_CHANNELS };

/** How a patient's baseline follows the patient. */
export type Baseline = Pick<MonitoringPolicy, 'baseline' | 'retrainEvery'>;

const FIXED: Baseline = { baseline: 'fixed', retrainEvery: 0 };

/** A CSP and an SP of their own, over mutual TLS on loopback. */
export class Deployment {
  readonly servers: Servers;
  readonly #directory: string;
  readonly #engine: ModularEngine;
  readonly #log: ServerLog;
  readonly #patients: Patient[] = [];
  #count = 0;

  private constructor(servers: Servers, directory: string, engine: ModularEngine, log: ServerLog) {
    this.servers = servers;
    this.#directory = directory;
    this.#engine = engine;
    this.#log = log;
  }

  /**
   * @param engine encrypts for all patients
   * @param asDeployed with the settings that servers have by default, and metrics, instead of those
   * under which they go as fast as they can
   */
  static async start(options: {
    readonly keyBits: number;
    readonly engineChoice: EngineChoice;
    readonly engine: ModularEngine;
    readonly notice: (line: string) => void;
    readonly asDeployed?: boolean;
  }): Promise<Deployment> {
    const { keyBits, engineChoice, engine, notice, asDeployed = false } = options;
    const log = new ServerLog(notice);
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-bench-'));
    try {
      const servers = await Servers.prepare({
        directory,
        keyBits,
        generator: 'residue',
        allowDistance: !asDeployed,
        defaultBudgets: asDeployed,
        engine: engineChoice,
        logLevel: asDeployed ? 'info' : 'warn',
        onLog: (line) => {
          log.read(line);
        },
        environment: {
          NODE_OPTIONS: [process.env['NODE_OPTIONS'], `--import=${probeUrl()}`]
            .filter(Boolean)
            .join(' '),
          [PROBE_FILE_VARIABLE]: join(directory, 'probes.ndjson'),
          ...(asDeployed && { DUOVEIL_METRICS_LISTEN: '127.0.0.1:0' }),
        },
      });
      const deployment = new Deployment(servers, directory, engine, log);
      try {
        await servers.setUp();
        await servers.startCsp();
        await servers.startSp();
      } catch (error) {
        await servers.stop();
        throw error;
      }
      return deployment;
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** Enrol a patient, with a fixed baseline unless told otherwise. */
  async enrol(
    suite: SuiteName,
    window: number,
    output: Output = 'distance',
    baseline = FIXED,
  ): Promise<Patient> {
    this.#count += 1;
    const quantiles = output === 'level' ? DEFAULT_LEVEL_QUANTILES : [DEFAULT_QUANTILE];
    const [thresholdScaled = 0n, ...higherThresholdsScaled] = quantiles.map((quantile) =>
      scaledThreshold(quantile, SCHEMA.channels.length),
    );
    const patient = await Patient.enrol({
      servers: this.servers,
      directory: this.#directory,
      name: `patient-${this.#count}`,
      schema: SCHEMA,
      policy: {
        window,
        ...baseline,
        thresholdScaled,
        higherThresholdsScaled,
        suite,
        output,
      },
      engine: this.#engine,
    });
    this.#patients.push(patient);
    return patient;
  }

  /**
   * Where the SP's metrics are, as `host:port`.
   * @throws NOT_READY where they are off
   */
  get metrics(): string {
    const address = this.#log.metrics.get('sp');
    if (address !== undefined) return address;
    throw duoveilError('NOT_READY', 'the service provider does not offer metrics');
  }

  /** Everything that the probes of both wrote. */
  probes(): Promise<ProbeLine[]> {
    return readProbes(join(this.#directory, 'probes.ndjson'));
  }

  /** What the probes saw between two moments (`Date.now()`). */
  async seen(from: number, to: number): Promise<Record<'csp' | 'sp', Seen>> {
    const lines = await this.probes();
    const { csp, sp } = this.servers;
    return {
      csp: seenBetween(lines, csp.pid, from, to),
      sp: seenBetween(lines, sp.pid, from, to),
    };
  }

  /** Stop everything and remove what it wrote. */
  async stop(): Promise<void> {
    await Promise.all(this.#patients.map((patient) => patient.close()));
    await this.servers.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** The built probe, also where this runs from the sources. */
function probeUrl(): string {
  const entry = createRequire(import.meta.url).resolve('@duoveil/bench/probe');
  return pathToFileURL(entry).href;
}
