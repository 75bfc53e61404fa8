/** What is done to the two servers, and to the calls between them. */
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import { systemSleep } from '@duoveil/common/runtime';

import type { Replica, Servers, Successor } from '../parties/servers.js';
import type { Supervised } from '../parties/supervised.js';
import type { Balancer } from './balancer.js';
import type { PassingCall } from './csp-proxy.js';
import type { FaultCounts } from './fault-counts.js';
import { rotated } from './successor.js';
import type { CallFault, Server, ServerOperation, ServerOperationKind } from './operations.js';

/** A database that several SPs share. */
export interface SharedDatabase {
  readonly url: string;
  /** Cuts all connections to it. */
  cut(): Promise<void>;
  /** Takes it away for a while. */
  away(ms: number): Promise<void>;
}

/** A second SP on the same database, and what stands before both. */
export interface Replication {
  readonly replica: Replica;
  readonly balancer: Balancer;
  readonly database: SharedDatabase;
}

/**
 * What can be done to throw-away servers on this machine. The limits of a process that runs can be
 * changed on Linux, with a tool that is nearly everywhere.
 */
export function availableOperations(
  replication: Replication | undefined,
): ReadonlySet<ServerOperationKind> {
  const kinds = new Set<ServerOperationKind>(['kill', 'restart', 'stall', 'rotate']);
  if (spawnSync('prlimit', ['--version']).status === 0) kinds.add('fill');
  if (replication !== undefined) kinds.add('outlast').add('cut').add('away');
  return kinds;
}

/** A CSP serves eight generations at most: the first, the one that patients move to, and these, with those of tries. */
const ROTATIONS = 2;

/** See the file's comment. */
export class ServerFaults {
  readonly #servers: Servers;
  readonly #replication: Replication | undefined;
  readonly #successor: () => Successor | undefined;
  readonly #counts: FaultCounts;
  /** Generations of keys that were drawn. */
  #rotations = 0;
  readonly #nextCallFault: () => CallFault;
  /** Who is killed at the next call of which method. */
  readonly #kills: { readonly party: Server; readonly at: string }[] = [];

  /**
   * @param successor the SP of the next generation of keys, once it is there
   * @param nextCallFault what becomes of each call from the SP to the CSP, in their order
   */
  constructor(
    servers: Servers,
    replication: Replication | undefined,
    successor: () => Successor | undefined,
    counts: FaultCounts,
    nextCallFault: () => CallFault,
  ) {
    this.#servers = servers;
    this.#replication = replication;
    this.#successor = successor;
    this.#counts = counts;
    this.#nextCallFault = nextCallFault;
  }

  /** Does something to a server. Resolves when that is over; the server may not be back yet. */
  async perform(operation: ServerOperation): Promise<void> {
    if ('party' in operation && this.#party(operation.party) === undefined) return;
    switch (operation.kind) {
      case 'kill':
        if (operation.at === undefined) this.#kill(operation.party);
        else this.#kills.push({ party: operation.party, at: operation.at });
        return;
      case 'restart':
        this.#counts.add(`restart ${operation.party}`);
        await this.#party(operation.party)?.restart();
        return;
      case 'stall':
        this.#counts.add(`stall ${operation.party}`);
        await this.#stall(operation.party, operation.ms);
        return;
      case 'fill':
        await this.#fill(operation.party, operation.bytes, operation.ms);
        return;
      case 'outlast':
        this.#counts.add('stall sp past its leases');
        await this.#outlast(operation.ms);
        return;
      case 'cut':
        this.#counts.add('cut database');
        await this.#replication?.database.cut();
        return;
      case 'away':
        this.#counts.add('database away');
        await this.#replication?.database.away(operation.ms);
        return;
      case 'rotate':
        await this.#rotate();
        return;
    }
  }

  /** What stands between the SP and the CSP does this to each call. */
  readonly meddle = async (call: PassingCall): Promise<Buffer> => {
    this.#killAt(call.method);
    const { does, ms, second } = this.#nextCallFault();
    if (does !== 'pass') this.#counts.add(`${does} (to csp)`);
    switch (does) {
      case 'pass':
        return call.pass();
      case 'drop-request':
        throw broken();
      case 'drop-response':
        await call.pass();
        throw broken();
      case 'delay':
        await systemSleep(ms, call.signal);
        return call.pass();
      case 'duplicate': {
        const answer = await call.pass();
        // That the second is refused is as good: what was asked once was answered once.
        const again = await call.pass().catch(() => answer);
        return second ? again : answer;
      }
    }
  };

  async #stall(party: Server, ms: number): Promise<void> {
    this.#party(party)?.signal('SIGSTOP');
    await systemSleep(ms);
    this.#party(party)?.signal('SIGCONT');
  }

  async #rotate(): Promise<void> {
    if (this.#rotations === ROTATIONS) return;
    this.#rotations += 1;
    this.#counts.add('rotate keys');
    await rotated(this.#servers);
  }

  /** Meanwhile everybody talks to the other one. */
  async #outlast(ms: number): Promise<void> {
    const { balancer, replica } = this.#replication ?? never();
    const { address } = this.#servers;
    const stalled = this.#stall('sp', ms);
    balancer.direct(replica.address, address);
    balancer.cut();
    await stalled;
    balancer.direct(address, replica.address);
  }

  /** @returns undefined for a successor that is not there yet */
  #party(name: Server): Supervised | undefined {
    if (name === 'successor') return this.#successor()?.party;
    return name === 'replica' ? (this.#replication ?? never()).replica.party : this.#servers[name];
  }

  #kill(party: Server): void {
    this.#counts.add(`kill ${party}`);
    this.#party(party)?.kill();
  }

  #killAt(method: string): void {
    const next = this.#kills.findIndex(({ at }) => at === method);
    const kill = this.#kills[next];
    if (kill === undefined) return;
    this.#kills.splice(next, 1);
    this.#kill(kill.party);
  }

  async #fill(party: Server, bytes: number, ms: number): Promise<void> {
    const pid = this.#party(party)?.pid;
    if (pid === undefined || !limitFiles(pid, this.#largestFile(party) + bytes)) return;
    this.#counts.add(`fill disk of ${party}`);
    await systemSleep(ms);
    // Another process, if it was started meanwhile, never had the limit.
    limitFiles(pid, 'unlimited');
  }

  #largestFile(party: Server): number {
    const database = this.#successor()?.database;
    const files = { csp: this.#servers.cspState, sp: dirname(this.#servers.spDatabase) };
    const directory =
      party === 'successor' && database !== undefined
        ? dirname(database)
        : files[party === 'csp' ? 'csp' : 'sp'];
    const sizes = readdirSync(directory).map((name) => {
      const found = statSync(join(directory, name), { throwIfNoEntry: false });
      return found?.size ?? 0;
    });
    return Math.max(0, ...sizes);
  }
}

/** @returns whether there was such a process */
function limitFiles(pid: number, soft: number | 'unlimited'): boolean {
  return spawnSync('prlimit', ['--pid', String(pid), `--fsize=${soft}:unlimited`]).status === 0;
}

function broken(): Error {
  return duoveilError('PEER_UNAVAILABLE', 'the connection broke', { peer: 'csp' });
}

function never(): never {
  throw new Error('there is no other service provider');
}
