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
import type { Output, Schema } from '@duoveil/common/encoding';
import type { EngineChoice, ModularEngine } from '@duoveil/common/modular';
import { Servers } from '@duoveil/harness/parties';

import type { SuiteName } from './options.js';
import { Patient } from './patient.js';
import { PROBE_FILE_VARIABLE, readProbes, seenBetween, type Seen } from './probe-file.js';

/** What every benchmark's patients are watched for. */
export const SCHEMA: Schema = { channels: DEFAULT_CHANNELS };

/** A CSP and an SP of their own, over mutual TLS on loopback. */
export class Deployment {
  readonly servers: Servers;
  readonly #directory: string;
  readonly #engine: ModularEngine;
  readonly #patients: Patient[] = [];
  #count = 0;

  private constructor(servers: Servers, directory: string, engine: ModularEngine) {
    this.servers = servers;
    this.#directory = directory;
    this.#engine = engine;
  }

  /** @param engine encrypts for all patients */
  static async start(options: {
    readonly keyBits: number;
    readonly engineChoice: EngineChoice;
    readonly engine: ModularEngine;
    readonly notice: (line: string) => void;
  }): Promise<Deployment> {
    const { keyBits, engineChoice, engine, notice } = options;
    const directory = await mkdtemp(join(tmpdir(), 'duoveil-bench-'));
    try {
      const servers = await Servers.prepare({
        directory,
        keyBits,
        generator: 'residue',
        allowDistance: true,
        engine: engineChoice,
        logLevel: 'warn',
        onLog: notice,
        environment: {
          NODE_OPTIONS: [process.env['NODE_OPTIONS'], `--import=${probeUrl()}`]
            .filter(Boolean)
            .join(' '),
          [PROBE_FILE_VARIABLE]: join(directory, 'probes.ndjson'),
        },
      });
      const deployment = new Deployment(servers, directory, engine);
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

  /** Enrol a patient with a fixed baseline. */
  async enrol(suite: SuiteName, window: number, output: Output = 'distance'): Promise<Patient> {
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
        baseline: 'fixed',
        retrainEvery: 0,
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

  /** What the probes saw between two moments (`Date.now()`). */
  async seen(from: number, to: number): Promise<Record<'csp' | 'sp', Seen>> {
    const lines = await readProbes(join(this.#directory, 'probes.ndjson'));
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
