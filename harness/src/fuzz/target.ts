/** Both servers as processes, and real requests to each of their calls. */
import type { ModularEngine } from '@duoveil/common/modular';
import {
  callUnary,
  connect,
  credentialFiles,
  defaultTrustDomain,
  loadTls,
  parsePatientId,
  type Connection,
  type Tls,
} from '@duoveil/common/runtime';
import { GetStatisticsRequest } from '@duoveil/proto';

import { CspProxy } from '../faults/csp-proxy.js';
import { FaultCounts } from '../faults/fault-counts.js';
import { GatewayCertificates } from '../faults/gateway-certificates.js';
import { ListRun, type ListEnvironment } from '../faults/list-run.js';
import { planList, type OperationList } from '../faults/operations.js';
import { rawMethod } from '../faults/raw-calls.js';
import { SpProxy } from '../faults/sp-proxy.js';
import { Servers } from '../parties/servers.js';

/** One of the two servers. */
export type Party = 'csp' | 'sp';

/** Whoever makes calls. */
export interface Caller {
  /** The SP, or a patient. */
  readonly name: string;
  readonly server: Party;
  readonly connection: Connection;
}

/** Requests that are kept of each call. */
const KEPT = 200;

const nameOf = (index: number): string => `patient-${index}`;

/** See the file's comment. */
export class FuzzTarget {
  readonly servers: Servers;
  /** What the servers have logged. */
  readonly log: string[];
  /** By who makes them and the name of the method: `patient-0 Enrol`. */
  readonly #recorded = new Map<string, Buffer[]>();
  readonly #engine: ModularEngine;
  readonly #directory: string;
  readonly #gateways: GatewayCertificates;
  readonly #connections: Connection[] = [];
  #toCsp: CspProxy | undefined;

  private constructor(
    servers: Servers,
    log: string[],
    engine: ModularEngine,
    directory: string,
    gateways: GatewayCertificates,
  ) {
    this.servers = servers;
    this.log = log;
    this.#engine = engine;
    this.#directory = directory;
    this.#gateways = gateways;
  }

  /** @param directory an existing one, for everything that is written */
  static async start(engine: ModularEngine, directory: string): Promise<FuzzTarget> {
    const log: string[] = [];
    const gateways = await GatewayCertificates.create(directory);
    const servers = await Servers.prepare({
      directory,
      keyBits: 512,
      generator: 'residue',
      engine: 'auto',
      allowDistance: true,
      logLevel: 'error',
      authority: gateways.authority,
      onLog: (line) => log.push(line),
    });
    await servers.setUp();
    await servers.startCsp();
    return new FuzzTarget(servers, log, engine, directory, gateways);
  }

  /** Starts the SP and records what good parties send, whatever the policy. */
  async record(): Promise<void> {
    const csp = new CspProxy({
      address: this.servers.cspAddress,
      asCsp: await this.#tls('csp'),
      asSp: await this.#tls('sp'),
    });
    csp.meddle = (call) => {
      this.#keep('sp', call.method, call.request);
      return call.pass();
    };
    await csp.start();
    // It keeps on asking through the proxy.
    await this.servers.startSp(csp.address);
    const sp = new SpProxy({ address: this.servers.address, asSp: await this.#tls('sp') });
    await sp.start();
    const lists = onePerPolicy();
    await Promise.all(lists.map((list, i) => this.#run(list, i, sp)));
    for (const [i] of lists.entries()) {
      const request = GetStatisticsRequest.encode({ patientId: nameOf(i) }).finish();
      this.#keep(nameOf(i), 'GetStatistics', Buffer.from(request));
      this.#keep(nameOf(i), 'GetBaselineSamples', Buffer.from(request));
    }
    await sp.stop();
    this.#toCsp = csp;
  }

  /** @throws where a server does not say that it serves */
  async requireHealthy(): Promise<void> {
    for (const { name, connection } of await this.callers()) {
      const method = rawMethod('/grpc.health.v1.Health/Check', false, false);
      const answer = await callUnary(connection, method, Buffer.alloc(0), { deadlineMs: 30_000 });
      // HealthCheckResponse { status: SERVING }
      if (!answer.equals(Buffer.from([0x08, 0x01]))) throw new Error(`${name} is not served`);
    }
  }

  /** A patient who was not there before is served from enrolment to the last decision. */
  async serveAnother(): Promise<void> {
    const sp = new SpProxy({ address: this.servers.address, asSp: await this.#tls('sp') });
    await sp.start();
    try {
      await this.#run(onePerPolicy()[0] ?? planList(1), 100, sp);
    } finally {
      await sp.stop();
    }
  }

  /** Real requests of somebody's to a call of the wire contract. */
  recordedOf({ name }: Caller, path: string): readonly Buffer[] {
    const [, service = '', method = ''] = path.split('/');
    return service.startsWith('duoveil.') ? (this.#recorded.get(`${name} ${method}`) ?? []) : [];
  }

  /** Whoever calls one of the servers, with a connection to it. */
  async callers(): Promise<Caller[]> {
    const { address, cspAddress } = this.servers;
    const toCsp = { address: cspAddress, tls: await this.#tls('sp'), expectRole: 'csp' } as const;
    const callers: Caller[] = [{ name: 'sp', server: 'csp', connection: connect(toCsp) }];
    for (const role of ['operator', 'custodian'] as const) {
      const tls = await this.#tls(role);
      callers.push({ name: role, server: 'csp', connection: connect({ ...toCsp, tls }) });
      callers.push({
        ...{ name: role, server: 'sp' },
        connection: connect({ address, tls, expectRole: 'sp' }),
      });
    }
    for (const [index] of onePerPolicy().entries()) {
      const { tls } = await this.#gateways.of(parsePatientId(nameOf(index), 'patient'));
      const connection = connect({ address, tls, expectRole: 'sp' });
      callers.push({ name: nameOf(index), server: 'sp', connection });
    }
    this.#connections.push(...callers.map(({ connection }) => connection));
    return callers;
  }

  /** Stops everything. */
  async close(): Promise<void> {
    for (const connection of this.#connections) connection.close();
    await this.servers.stop();
    await this.#toCsp?.stop();
  }

  async #run(list: OperationList, index: number, proxy: SpProxy): Promise<void> {
    const environment: ListEnvironment = {
      proxy,
      gateways: this.#gateways,
      digest: this.servers.digest,
      engine: this.#engine,
      directory: this.#directory,
      counts: new FaultCounts(),
      nextGeneration: () => Promise.reject(new Error('nobody moves here')),
      onRows: () => undefined,
      doubles: {
        meddle: () => (message) => {
          const { method, direction, bytes } = message;
          if (direction === 'request') this.#keep(nameOf(index), method, bytes);
          return Promise.resolve([message.bytes]);
        },
      },
    };
    const operations = list.operations.filter(({ kind }) => kind !== 'move');
    await new ListRun({ ...list, operations }, nameOf(index), environment).run();
  }

  #keep(caller: string, method: string, request: Buffer): void {
    const key = `${caller} ${method}`;
    const kept = this.#recorded.get(key) ?? [];
    if (kept.length < KEPT) kept.push(request);
    this.#recorded.set(key, kept);
  }

  async #tls(role: Party | 'operator' | 'custodian'): Promise<Tls> {
    const trustDomain = defaultTrustDomain;
    const identity =
      role === 'csp' || role === 'sp'
        ? { trustDomain, role }
        : { trustDomain, role, name: `fuzz-${role}` };
    return loadTls(credentialFiles(await this.servers.issue(`fuzz-${role}`, identity)));
  }
}

/** A patient of each suite and output, whose samples are sent without further ado. */
function onePerPolicy(): OperationList[] {
  const found = new Map<string, OperationList>();
  for (let seed = 1; found.size < 3; seed += 1) {
    const list = planList(seed);
    const { suite, output } = list.patient.policy;
    const operations = [{ kind: 'send', rows: list.patient.rows.length } as const];
    found.set(`${suite} ${output}`, { ...list, ownProcess: false, operations });
  }
  return [...found.values()];
}
