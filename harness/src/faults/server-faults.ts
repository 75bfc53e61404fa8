/** What is done to the two servers, and to the calls between them. */
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { duoveilError } from '@duoveil/common/errors';
import { systemSleep } from '@duoveil/common/runtime';

import type { Servers } from '../parties/servers.js';
import type { PassingCall } from './csp-proxy.js';
import type { FaultCounts } from './fault-counts.js';
import type { CallFault, Server, ServerOperation, ServerOperationKind } from './operations.js';

/**
 * What can be done to throw-away servers on this machine. The limits of a process that runs can be
 * changed on Linux, with a tool that is nearly everywhere.
 */
export function availableOperations(): ReadonlySet<ServerOperationKind> {
  const always = ['kill', 'restart', 'stall'] as const;
  const limits = spawnSync('prlimit', ['--version']).status === 0;
  return new Set<ServerOperationKind>(limits ? [...always, 'fill'] : always);
}

/** See the file's comment. */
export class ServerFaults {
  readonly #servers: Servers;
  readonly #counts: FaultCounts;
  readonly #nextCallFault: () => CallFault;
  /** Who is killed at the next call of which method. */
  readonly #kills: { readonly party: Server; readonly at: string }[] = [];

  /** @param nextCallFault what becomes of each call from the SP to the CSP, in their order */
  constructor(servers: Servers, counts: FaultCounts, nextCallFault: () => CallFault) {
    this.#servers = servers;
    this.#counts = counts;
    this.#nextCallFault = nextCallFault;
  }

  /** Does something to a server. Resolves when that is over; the server may not be back yet. */
  async perform(operation: ServerOperation): Promise<void> {
    const { party } = operation;
    switch (operation.kind) {
      case 'kill':
        if (operation.at === undefined) this.#kill(party);
        else this.#kills.push({ party, at: operation.at });
        return;
      case 'restart':
        this.#counts.add(`restart ${party}`);
        await this.#servers[party].restart();
        return;
      case 'stall':
        this.#counts.add(`stall ${party}`);
        this.#servers[party].signal('SIGSTOP');
        await systemSleep(operation.ms);
        this.#servers[party].signal('SIGCONT');
        return;
      case 'fill':
        await this.#fill(party, operation.bytes, operation.ms);
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

  #kill(party: Server): void {
    this.#counts.add(`kill ${party}`);
    this.#servers[party].kill();
  }

  #killAt(method: string): void {
    const next = this.#kills.findIndex(({ at }) => at === method);
    const kill = this.#kills[next];
    if (kill === undefined) return;
    this.#kills.splice(next, 1);
    this.#kill(kill.party);
  }

  async #fill(party: Server, bytes: number, ms: number): Promise<void> {
    const pid = this.#servers[party].pid;
    if (pid === undefined || !limitFiles(pid, this.#largestFile(party) + bytes)) return;
    this.#counts.add(`fill disk of ${party}`);
    await systemSleep(ms);
    // Another process, if it was started meanwhile, never had the limit.
    limitFiles(pid, 'unlimited');
  }

  #largestFile(party: Server): number {
    const directory = party === 'sp' ? dirname(this.#servers.spDatabase) : this.#servers.cspState;
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
