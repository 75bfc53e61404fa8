/** Many operation lists against one pair of servers, and what came of each. */
import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  decodeParameters,
  type ParametersDigest,
  type PublicParameters,
} from '@duoveil/common/bcp';
import type { ModularEngine } from '@duoveil/common/modular';
import {
  callUnary,
  connect,
  credentialFiles,
  defaultTrustDomain,
  loadTls,
  type PatientId,
  type Tls,
} from '@duoveil/common/runtime';
import { ParametersServiceService } from '@duoveil/proto';

import { within } from '../parties/deadlines.js';
import { Servers } from '../parties/servers.js';
import { Balancer } from './balancer.js';
import { CspProxy } from './csp-proxy.js';
import { DEADLINE_MS } from './deadlines.js';
import type { FaultCounts } from './fault-counts.js';
import type { GatewayCertificates } from './gateway-certificates.js';
import { ListRun, type Doubles, type ListEnvironment } from './list-run.js';
import { callFaults, LEASE_MS, planServers, type OperationList } from './operations.js';
import { differenceInStore, type KeptDecision } from './row-results.js';
import {
  availableOperations,
  ServerFaults,
  type Replication,
  type SharedDatabase,
} from './server-faults.js';
import { SpProxy } from './sp-proxy.js';
import { NextGeneration } from './successor.js';

/** Where a service provider keeps its things: in a file, or in a PostgreSQL. */
export type KeptAt =
  { readonly file: string } | { readonly databaseUrl: string; readonly storeKey: string };

/** Reads from the store of a service provider that has stopped. */
export type StoreReader = (
  store: KeptAt,
  parameters: PublicParameters,
  patients: readonly PatientId[],
) => Promise<ReadonlyMap<PatientId, readonly KeptDecision[]>>;

/** Which lists, and how they are run. */
export interface BatchOptions {
  /** Of what happens to the servers. */
  readonly seed: number;
  readonly lists: readonly OperationList[];
  readonly engine: ModularEngine;
  /** Issues certificates; batches that have it in common need them but once. */
  readonly gateways: GatewayCertificates;
  /** Shared by two SPs; one SP has a file without. */
  readonly database?: SharedDatabase;
  /** Everything that the service provider decided on these patients, by patient. */
  readonly readStore: StoreReader;
  /** Parts that are wrong on purpose, in some lists. */
  readonly doublesOf?: (list: OperationList) => Doubles | undefined;
}

/** A list that did not come out as it should, or a server that has a defect. */
export interface ListFailure {
  readonly batch: number;
  /** Undefined where it was no list, but a server. */
  readonly list: number | undefined;
  readonly why: string;
}

/** What a batch came to. */
export interface BatchResult {
  readonly lists: number;
  readonly samples: number;
  /** Samples that were decided on, as the store has them. */
  readonly decisions: number;
  readonly failures: readonly ListFailure[];
  /** The servers' last log lines, where something failed. */
  readonly log: readonly string[];
}

/** Lists that are run at once. */
const AT_ONCE = 24;

/** So many lists to one operation on a server; but a few of them to the smallest batch. */
const LISTS_TO_A_SERVER_OPERATION = 8;
const LEAST_SERVER_OPERATIONS = 4;

/** Log lines that are kept. */
const LOG_LINES = 400;

/**
 * Runs a batch. Whatever was started is stopped.
 * @param counts takes each fault that was injected
 * @throws where the servers cannot be started or stopped, or their store cannot be read
 */
export async function runBatch(options: BatchOptions, counts: FaultCounts): Promise<BatchResult> {
  const deployment = await BatchDeployment.start(options, counts);
  try {
    const runs = options.lists.map(
      (list, i) => new ListRun(list, `patient-${i}`, deployment.environmentOf(list)),
    );
    if (options.database !== undefined) counts.add('lists with two sps', runs.length);
    const failures = await deployment.run(runs);
    await deployment.stop();
    const kept = await deployment.kept(runs);
    const differ = runs.flatMap(({ list, patient, expected }) => {
      // What was not told is not expected to be there.
      if (failures.some((failure) => failure.list === list.seed)) return [];
      const why = differenceInStore(expected, kept.get(patient) ?? []);
      return why === undefined ? [] : [{ batch: options.seed, list: list.seed, why }];
    });
    const all = [...failures, ...differ, ...defectsIn(deployment, options.seed)];
    return {
      lists: runs.length,
      samples: samplesOf(runs),
      decisions: [...kept.values()].reduce((sum, decisions) => sum + decisions.length, 0),
      failures: all,
      log: all.length > 0 ? deployment.log : [],
    };
  } finally {
    await deployment.close();
  }
}

/** Whatever happens, no server may have a defect. */
function defectsIn({ defects }: BatchDeployment, batch: number): ListFailure[] {
  return defects.slice(0, 1).map((why) => ({ batch, list: undefined, why }));
}

function samplesOf(runs: readonly ListRun[]): number {
  return runs.reduce(
    (sum, { expected }) => sum + expected.filter((row) => !('skipped' in row)).length,
    0,
  );
}

/** The servers of a batch, and what stands between the parties. */
class BatchDeployment {
  readonly servers: Servers;
  readonly parameters: PublicParameters;
  /** The last lines that the servers logged. */
  readonly log: readonly string[];
  /** Those that tell of a defect. */
  readonly defects: readonly string[];
  readonly #options: BatchOptions;
  readonly #directory: string;
  readonly #csp: CspProxy;
  readonly #sp: SpProxy;
  readonly #faults: ServerFaults;
  readonly #replication: Replication | undefined;
  readonly #environment: Omit<ListEnvironment, 'doubles'>;
  /** Made for the first list that asks. */
  #making: Promise<NextGeneration> | undefined;
  #next: NextGeneration | undefined;
  #rows = 0;
  #stopped: Promise<void> | undefined;
  #wake = (): void => undefined;

  private constructor(
    options: BatchOptions,
    counts: FaultCounts,
    parts: {
      readonly directory: string;
      readonly servers: Servers;
      readonly parameters: PublicParameters;
      readonly csp: CspProxy;
      readonly sp: SpProxy;
      readonly log: string[];
      readonly defects: string[];
      readonly replication: Replication | undefined;
      readonly asCsp: Tls;
      readonly asSp: Tls;
    },
  ) {
    this.#options = options;
    this.#directory = parts.directory;
    this.servers = parts.servers;
    this.parameters = parts.parameters;
    this.log = parts.log;
    this.defects = parts.defects;
    this.#replication = parts.replication;
    this.#csp = parts.csp;
    this.#sp = parts.sp;
    this.#faults = new ServerFaults(
      parts.servers,
      parts.replication,
      () => this.#next?.successor,
      counts,
      callFaults(options.seed),
    );
    parts.csp.meddle = this.#faults.meddle;
    this.#environment = {
      proxy: parts.sp,
      gateways: options.gateways,
      digest: parts.servers.digest,
      engine: options.engine,
      directory: join(parts.directory, 'gateways'),
      counts,
      nextGeneration: () => (this.#making ??= this.#makeNext(parts)),
      onRows: (rows) => {
        this.#rows += rows;
        this.#wake();
      },
    };
  }

  environmentOf(list: OperationList): ListEnvironment {
    const doubles = this.#options.doublesOf?.(list);
    return { ...this.#environment, ...(doubles !== undefined && { doubles }) };
  }

  /** Both servers with a key of 512 bits, and the proxies. */
  static async start(options: BatchOptions, counts: FaultCounts): Promise<BatchDeployment> {
    const directory = await mkdtemp(join(await roomyDirectory(), 'duoveil-faults-'));
    const log: string[] = [];
    const defects: string[] = [];
    const servers = await Servers.prepare({
      directory,
      keyBits: 512,
      generator: 'residue',
      engine: 'auto',
      allowDistance: true,
      authority: options.gateways.authority,
      ...(options.database !== undefined && {
        databaseUrl: options.database.url,
        environment: { DUOVEIL_LEASE_MS: String(LEASE_MS) },
      }),
      logLevel: 'warn',
      onLog: (line) => {
        log.push(line);
        if (line.includes('"INTERNAL"')) defects.push(line);
        if (line.includes('PATIENT_ELSEWHERE')) counts.add('refused as another has the patient');
        if (log.length > LOG_LINES) log.shift();
      },
    });
    try {
      await within(DEADLINE_MS.start, 'drawing the master key', servers.setUp());
      await within(DEADLINE_MS.start, 'starting the csp', servers.startCsp());
      const identity = (role: 'csp' | 'sp') => ({ trustDomain: defaultTrustDomain, role });
      const asCsp = await loadTls(credentialFiles(await servers.issue('to-sp', identity('csp'))));
      const asSp = await loadTls(credentialFiles(await servers.issue('to-all', identity('sp'))));
      const parameters = await fetchParameters(servers.cspAddress, asSp, options.engine);
      const csp = new CspProxy({ address: servers.cspAddress, asCsp, asSp });
      await csp.start();
      await within(DEADLINE_MS.start, 'starting the sp', servers.startSp(csp.address));
      const replication = await within(
        DEADLINE_MS.start,
        'starting another sp',
        replicate(servers, csp.address, options.database),
      );
      const sp = new SpProxy({ address: replication?.balancer.address ?? servers.address, asSp });
      await sp.start();
      return new BatchDeployment(options, counts, {
        ...{ directory, servers, parameters, csp, sp, log, defects, replication, asCsp, asSp },
      });
    } catch (error) {
      await servers.stop();
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  async #makeNext(parts: { readonly asCsp: Tls; readonly asSp: Tls }): Promise<NextGeneration> {
    const { servers } = this;
    const { meddle } = this.#faults;
    const { engine } = this.#options;
    this.#next = await NextGeneration.make({
      ...{ ...parts, servers, meddle },
      fetchParameters: (digest) => fetchParameters(servers.cspAddress, parts.asSp, engine, digest),
    });
    return this.#next;
  }

  /**
   * All decisions on each patient, as the stores have them: of one who was moved, those before and those
   * after, without those on the samples that were taken along.
   */
  async kept(runs: readonly ListRun[]): Promise<ReadonlyMap<PatientId, readonly KeptDecision[]>> {
    const { database, readStore } = this.#options;
    const { spDatabase: file, storeKey } = this.servers;
    const read = (
      where: KeptAt,
      parameters: PublicParameters,
      of: readonly ListRun[],
    ): ReturnType<StoreReader> => {
      const patients = of.map(({ patient }) => patient);
      return within(DEADLINE_MS.stop, 'reading the store', readStore(where, parameters, patients));
    };
    const first = database === undefined ? { file } : { databaseUrl: database.url, storeKey };
    const before = await read(first, this.parameters, runs);
    if (this.#next === undefined) return before;
    const { successor, parameters } = this.#next;
    const movers = runs.filter(({ moved }) => moved !== undefined);
    const after = await read({ file: successor.database }, parameters, movers);
    const whole = movers.map(({ patient, moved }): [PatientId, readonly KeptDecision[]] => {
      const { samples, after: last } = moved ?? { samples: 0, after: 0 };
      const own = (after.get(patient) ?? []).map(({ sequence, outcome }) => ({
        sequence: sequence - samples + last,
        outcome,
      }));
      return [patient, [...(before.get(patient) ?? []), ...own.slice(samples)]];
    });
    return new Map([...before, ...whole]);
  }

  /** Runs all lists, some at a time, while the servers meet with their faults. */
  async run(runs: readonly ListRun[]): Promise<ListFailure[]> {
    const failures: ListFailure[] = [];
    const failed = async (list: number | undefined, work: Promise<void>): Promise<void> => {
      const why = await work.then(() => undefined, describe);
      if (why !== undefined) failures.push({ batch: this.#options.seed, list, why });
    };
    const waiting = [...runs];
    const over = new AbortController();
    const servers = failed(undefined, this.#troubleServers(runs, over.signal));
    const worker = async (): Promise<void> => {
      for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) {
        const { list } = run;
        const done = within(DEADLINE_MS.list, () => `the list, at ${run.stage},`, run.run());
        await failed(list.seed, Promise.race([done, this.#serverFailed()]));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    over.abort();
    this.#wake();
    await servers;
    return failures;
  }

  /** Stops everything; what it has kept is still there. */
  stop(): Promise<void> {
    return (this.#stopped ??= this.#stop());
  }

  async #stop(): Promise<void> {
    const ended = (what: string, work: Promise<void> | undefined): Promise<void> =>
      within(DEADLINE_MS.stop, `stopping ${what}`, work ?? Promise.resolve());
    // One that is being made would be started after the rest was stopped.
    await this.#making?.catch(() => undefined);
    await ended('what stands before the sp', this.#sp.stop());
    await ended('the servers', this.servers.stop());
    await ended('the next generation', this.#next?.stop());
    await ended('the balancer', this.#replication?.balancer.stop());
    await ended('what stands before the csp', this.#csp.stop());
  }

  /** Stops and removes everything. */
  async close(): Promise<void> {
    try {
      await this.stop();
    } finally {
      await rm(this.#directory, { recursive: true, force: true });
    }
  }

  async #serverFailed(): Promise<never> {
    const { csp, sp } = this.servers;
    const all = [
      csp,
      sp,
      ...(this.#replication === undefined ? [] : [this.#replication.replica.party]),
      ...(this.#next === undefined ? [] : [this.#next.successor.party]),
    ];
    await Promise.race(all.map(({ finished }) => finished));
    throw new Error('a server ended');
  }

  /** Each in its turn, when so much of the batch is under way. */
  async #troubleServers(runs: readonly ListRun[], over: AbortSignal): Promise<void> {
    const rows = runs.reduce((sum, { expected }) => sum + expected.length, 0);
    const count = Math.max(
      LEAST_SERVER_OPERATIONS,
      Math.ceil(runs.length / LISTS_TO_A_SERVER_OPERATION),
    );
    const { seed } = this.#options;
    const available = availableOperations(this.#replication);
    for (const { after, operation } of planServers(seed, count, available)) {
      while (this.#rows < after * rows && !over.aborted) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (over.aborted) return;
      const what = `on a server, ${JSON.stringify(operation)}`;
      await within(DEADLINE_MS.operation, what, this.#faults.perform(operation));
    }
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : 'failed';
}

async function replicate(
  servers: Servers,
  csp: string,
  database: SharedDatabase | undefined,
): Promise<Replication | undefined> {
  if (database === undefined) return undefined;
  const replica = await servers.startReplica(csp);
  const balancer = await Balancer.start();
  balancer.direct(servers.address, replica.address);
  return { replica, balancer, database };
}

async function fetchParameters(
  address: string,
  tls: Tls,
  engine: ModularEngine,
  parametersDigest?: ParametersDigest,
): Promise<PublicParameters> {
  const csp = connect({
    ...{ address, tls, expectRole: 'csp' },
    ...(parametersDigest !== undefined && { parametersDigest }),
  });
  try {
    const { getParameters } = ParametersServiceService;
    const { parameters } = await callUnary(csp, getParameters, {}, { deadlineMs: 30_000 });
    if (parameters === undefined) throw new Error('the CSP has no parameters');
    return await decodeParameters(parameters, engine);
  } finally {
    csp.close();
  }
}

/** Most of the time would go into waiting for the disk, and what is killed is a process, not the machine. */
const IN_MEMORY = '/dev/shm';
const ROOM_BYTES = 256 * 1024 * 1024;

async function roomyDirectory(): Promise<string> {
  const found = await statfs(IN_MEMORY).catch(() => undefined);
  const room = found === undefined ? 0 : found.bavail * found.bsize;
  return room >= ROOM_BYTES ? IN_MEMORY : tmpdir();
}
