import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { ParametersDigest } from '@duoveil/common/bcp';
import { isDuoveilError } from '@duoveil/common/errors';
import type { ModularEngine } from '@duoveil/common/modular';
import { systemRandom } from '@duoveil/common/random';
import {
  connect,
  isTransient,
  parsePatientId,
  retrying,
  silentLogger,
  type PatientId,
  type Tls,
} from '@duoveil/common/runtime';
import { enrol, type Moved, type Spool } from '@duoveil/gateway/parts';

import type { FaultCounts } from './fault-counts.js';
import type { GatewayCertificate, GatewayCertificates } from './gateway-certificates.js';
import { GatewayProcess } from './gateway-process.js';
import { MessageFaults } from './message-faults.js';
import type { GatewayOperation, OperationList } from './operations.js';
import { expectedResults, resultOfEvent, resultOfLine, type RowResult } from './row-results.js';
import { moveStubbornly } from './moving.js';
import { SEALING_KEY } from './sealing-key.js';
import { SimulatedGateway } from './simulated-gateway.js';
import type { MessageMeddling, SpProxy } from './sp-proxy.js';
import type { NextGeneration } from './successor.js';
import { ToldRows } from './told-rows.js';

/** What a list is run against. */
export interface ListEnvironment {
  /** What stands between gateways and the service provider. */
  readonly proxy: SpProxy;
  readonly gateways: GatewayCertificates;
  readonly digest: ParametersDigest;
  readonly engine: ModularEngine;
  /** For the gateways' state. */
  readonly directory: string;
  readonly counts: FaultCounts;
  /** The next generation of keys; made for the first list that asks. */
  readonly nextGeneration: () => Promise<NextGeneration>;
  /** Called when rows are handed to a gateway. */
  readonly onRows: (rows: number) => void;
  /** Parts that are wrong on purpose, to see that it is noticed. */
  readonly doubles?: Doubles;
}

/** Parts that are put in the place of good ones. */
export interface Doubles {
  readonly meddleWithSpool?: (good: Spool) => Spool;
  readonly meddle?: (good: MessageMeddling) => MessageMeddling;
}

/** No row may take longer than this, in milliseconds: whatever is held up longer is lost. */
const PATIENCE_MS = 90_000;

/** One operation list, from enrolment to the decision on the last row. */
export class ListRun {
  readonly list: OperationList;
  readonly patient: PatientId;
  /** What has to become of each row. */
  readonly expected: readonly RowResult[];
  readonly #environment: ListEnvironment;
  readonly #faults: MessageFaults;
  readonly #told: ToldRows;
  #stage = 'its beginning';
  readonly #admitted: SpProxy[] = [];
  #moved: Moved | undefined;

  constructor(list: OperationList, patient: string, environment: ListEnvironment) {
    this.list = list;
    this.patient = parsePatientId(patient, 'patient');
    this.expected = expectedResults(list.patient);
    this.#environment = environment;
    this.#faults = new MessageFaults(environment.counts);
    this.#told = new ToldRows(this.expected);
  }

  /** With what the series goes on at the next generation of keys; undefined where it was not moved. */
  get moved(): Moved | undefined {
    return this.#moved;
  }

  /** What it is at; for who has waited too long. */
  get stage(): string {
    return this.#stage;
  }

  /** @throws where a row is lost, told twice or wrongly, or the gateway gives up */
  async run(): Promise<void> {
    const { proxy, gateways, directory, doubles } = this.#environment;
    const { patient } = this;
    const certificate = await gateways.of(patient);
    const { tls } = certificate;
    const { meddle } = this.#faults;
    const guest = { tls, meddle: doubles?.meddle?.(meddle) ?? meddle };
    this.#admitted.push(proxy);
    proxy.admit(patient, guest);
    try {
      const operations = this.#armedBeforeEnrolment();
      this.#stage = 'enrolment';
      const state = await this.#enrol(tls);
      this.#stage = "its gateway's start";
      const gateway = await this.#start(state, certificate);
      try {
        await this.#patiently(Promise.race([this.#perform(operations, gateway), failure(gateway)]));
      } finally {
        this.#stage = "its gateway's end";
        await gateway.stop();
      }
    } finally {
      for (const one of this.#admitted) one.dismiss(patient);
      await rm(join(directory, patient), { recursive: true, force: true });
    }
  }

  /** Faults that come first concern the enrolment. The rest is for later. */
  #armedBeforeEnrolment(): readonly GatewayOperation[] {
    const { operations } = this.list;
    const first = operations.findIndex(
      (one) => one.kind !== 'fault' || ['Ingest', 'Watch'].includes(one.fault.method),
    );
    for (const one of operations.slice(0, first)) {
      if (one.kind === 'fault') this.#faults.arm(one.fault);
    }
    return operations.slice(first);
  }

  /** @returns the state directory */
  async #enrol(tls: Tls): Promise<string> {
    const { proxy, engine, digest, directory } = this.#environment;
    const { schema, policy } = this.list.patient;
    const state = join(directory, this.patient);
    await mkdir(state, { recursive: true });
    const connection = connect({ address: proxy.address, tls, expectRole: 'sp' });
    const once = (): Promise<unknown> =>
      enrol({
        connection,
        patient: this.patient,
        trustDomain: tls.identity.trustDomain,
        directory: state,
        pinned: digest,
        schema,
        policy,
        insecureKeyBits: true,
        sealingSecret: () => Promise.resolve(SEALING_KEY),
        engine,
        random: systemRandom,
        logger: silentLogger(),
      });
    try {
      // A full disk, or a server that is away for longer, is told to whoever enrols: they try again.
      await retrying(once, {
        ...{ deadlineMs: PATIENCE_MS, baseMs: 500, maxMs: 500, random: systemRandom },
        isRetryable: (error) => isTransient(error) || isDuoveilError(error, 'STORAGE_FULL'),
      });
    } finally {
      connection.close();
    }
    return state;
  }

  async #start(directory: string, certificate: GatewayCertificate): Promise<Gateway> {
    const { proxy, engine, doubles } = this.#environment;
    const { address } = proxy;
    const told = this.#told;
    const add = (result: RowResult | undefined): void => {
      if (result !== undefined) told.add(result);
    };
    if (this.list.ownProcess) {
      const process = await GatewayProcess.start({
        ...{ address, directory, tls: certificate.directory, patient: this.list.patient },
        onStart: () => {
          told.begin();
        },
        onEvent: (event) => {
          add(resultOfLine(event));
        },
      });
      return {
        finished: process.finished,
        release: () => undefined,
        kill: () => {
          process.kill();
          return Promise.resolve();
        },
        move: () => Promise.reject(new Error('a process does not move')),
        stop: () => process.stop(),
      };
    }
    const gateway = new SimulatedGateway({
      ...{ address, directory, tls: certificate.tls, engine, rows: this.list.patient.rows },
      ...(doubles?.meddleWithSpool !== undefined && { meddleWithSpool: doubles.meddleWithSpool }),
      onEvent: (event) => {
        add(resultOfEvent(event));
      },
    });
    await gateway.start();
    return {
      finished: gateway.finished,
      release: (rows) => {
        gateway.release(rows);
      },
      kill: async () => {
        await gateway.kill();
        told.begin(this.#firstRow);
        await gateway.start();
      },
      move: async (draws) => {
        await gateway.stop();
        const next = await this.#move(gateway.directory, certificate.tls, draws);
        told.begin(this.#firstRow);
        gateway.moveTo(next.address, next.directory);
        await gateway.start();
      },
      stop: () => gateway.stop(),
    };
  }

  async #move(
    directory: string,
    tls: Tls,
    draws: number,
  ): Promise<{ readonly address: string; readonly directory: string }> {
    const { proxy, engine, counts, nextGeneration } = this.#environment;
    const { sp, digest } = await nextGeneration();
    this.#admitted.push(sp);
    sp.admit(this.patient, { tls, meddle: this.#faults.meddle });
    const [address, nextAddress] = [proxy.address, sp.address];
    const arrived = await moveStubbornly({
      ...{ tls, engine, address, directory, nextAddress, digest, draws },
      patienceMs: PATIENCE_MS,
    });
    counts.add('move to other keys');
    this.#moved = arrived.moved;
    return { address: nextAddress, directory: arrived.directory };
  }

  /** The first row that the present gateway is told of. */
  get #firstRow(): number {
    const { after } = this.#moved ?? { after: 0 };
    let first = 0;
    for (let complete = 0; complete < after; first += 1) {
      const row = this.expected[first];
      if (row === undefined) throw new Error('more samples were decided on than there are');
      if (!('skipped' in row)) complete += 1;
    }
    return first;
  }

  async #perform(operations: readonly GatewayOperation[], gateway: Gateway): Promise<void> {
    const { counts, onRows } = this.#environment;
    let released = 0;
    for (const [position, operation] of operations.entries()) {
      this.#stage = `operation ${position}, ${JSON.stringify(operation)}`;
      switch (operation.kind) {
        case 'send':
          released += operation.rows;
          gateway.release(operation.rows);
          onRows(operation.rows);
          break;
        case 'wait':
          await this.#told.until(released);
          break;
        case 'fault':
          this.#faults.arm(operation.fault);
          break;
        case 'kill':
          counts.add(this.list.ownProcess ? 'kill gateway (process)' : 'kill gateway');
          await gateway.kill();
          break;
        case 'move':
          await gateway.move(operation.draws);
          break;
      }
      if (this.#told.wrong !== undefined) break;
    }
    this.#stage = 'the last decisions';
    await this.#told.until(this.expected.length);
    if (this.#told.wrong !== undefined) throw new Error(this.#told.wrong);
  }

  async #patiently(work: Promise<void>): Promise<void> {
    let count = -1;
    let timer: NodeJS.Timeout | undefined;
    const lost = new Promise<never>((_, reject) => {
      timer = setInterval(() => {
        const before = count;
        count = this.#told.count;
        if (count > before) return;
        const [all, ms] = [this.expected.length, PATIENCE_MS];
        reject(new Error(`no decision in ${ms} ms after ${count} of ${all} rows`));
      }, PATIENCE_MS);
    });
    try {
      await Promise.race([work, lost]);
    } finally {
      clearInterval(timer);
    }
  }
}

/** A gateway of either kind. */
interface Gateway {
  readonly finished: Promise<void>;
  release(rows: number): void;
  kill(): Promise<void>;
  move(draws: number): Promise<void>;
  stop(): Promise<void>;
}

/** That a gateway comes to its last row is no failure: whether it was told everything is seen elsewhere. */
async function failure({ finished }: Gateway): Promise<never> {
  await finished;
  return new Promise(() => undefined);
}
