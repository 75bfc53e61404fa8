/** Bad messages to every call of both servers, and what the servers make of them. */
import { existsSync, readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';

import { PERMISSIONS } from '../parties/permissions.js';
import { seededPrng, type Prng } from '../simulation/prng.js';
import { send } from './caller.js';
import { BadMessages } from './messages.js';
import type { Call, WireSchema } from './schema.js';
import type { Caller, FuzzTarget, Party } from './target.js';
import { codeOf, objectionTo, type AllowedCodes } from './verdict.js';

/** What is sent, and how much of it. */
export interface FuzzOptions {
  readonly seed: number;
  readonly messages: number;
  readonly target: FuzzTarget;
  readonly schema: WireSchema;
  /** The codes that may answer each call. */
  readonly allowed: AllowedCodes;
}

/** What came of it. */
export interface FuzzResult {
  readonly messages: number;
  /** How often each code was the answer, by server and path. */
  readonly answers: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** How often messages were made in each way. */
  readonly makings: ReadonlyMap<string, number>;
  /** Answers that should not have been given; the first of many. */
  readonly objections: readonly string[];
  /** Resident memory of each server in MiB after the first messages, and in the end. */
  readonly memory: Readonly<Record<Party, { readonly warm: number; readonly end: number }>>;
  readonly seconds: number;
}

/** A call, and who makes it. */
interface Aim {
  readonly caller: Caller;
  readonly call: Call;
  /** Real requests of theirs. */
  readonly good: readonly Buffer[];
}

/** Calls that are in progress at once. */
const AT_ONCE = 64;

/** The share of the messages after which memory is looked at for the first time. */
const WARM = 0.2;

/** Objections that are kept. */
const OBJECTIONS = 20;

/**
 * What takes a server a good part of a second whatever is sent is sent seldom: once in so many times
 * that it would be its turn.
 */
const SELDOM: Readonly<Record<string, number>> = {
  '/duoveil.v1.PackedService/OfferTransfers': 200,
  '/duoveil.v1.PackedService/RegisterProviderKey': 10,
  '/duoveil.v1.CustodyService/Unseal': 10,
};

/** Empty requests, which cannot be bad: what they ask for is done. */
const DONE_AT_ONCE = ['/duoveil.v1.CustodyService/Seal', '/duoveil.v1.CustodyService/Rotate'];

/** Sends so many bad messages. */
export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  return new Fuzzing(options, await options.target.callers()).run();
}

class Fuzzing {
  readonly #options: FuzzOptions;
  readonly #prng: Prng;
  readonly #aims: readonly Aim[];
  readonly #bad: BadMessages;
  readonly #answers = new Map<string, Map<string, number>>();
  readonly #makings = new Map<string, number>();
  readonly #objections: string[] = [];
  #sent = 0;

  constructor(options: FuzzOptions, callers: readonly Caller[]) {
    this.#options = options;
    this.#prng = seededPrng(options.seed, 4);
    this.#aims = aimsOf(options, callers);
    const everything = this.#aims.flatMap(({ good }) => good);
    this.#bad = new BadMessages(options.schema, everything, this.#prng);
  }

  async run(): Promise<FuzzResult> {
    const { target, messages } = this.#options;
    const startedMs = performance.now();
    await this.#sendUntil(messages * WARM);
    const warm = memoryOf(target);
    await this.#sendUntil(messages);
    const end = memoryOf(target);
    return {
      messages: this.#sent,
      answers: this.#answers,
      makings: this.#makings,
      objections: this.#objections,
      memory: {
        csp: { warm: warm.csp, end: end.csp },
        sp: { warm: warm.sp, end: end.sp },
      },
      seconds: (performance.now() - startedMs) / 1000,
    };
  }

  async #sendUntil(count: number): Promise<void> {
    const worker = async (): Promise<void> => {
      while (this.#sent < count) {
        this.#sent += 1;
        await this.#sendOne();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  async #sendOne(): Promise<void> {
    const { caller, call, good } = this.#aim();
    const number = this.#sent;
    const { bytes, made } = this.#bad.next(call.request, good);
    // Samples are looked at on a stream that is open.
    const before = call.requestStream && this.#prng.uniform() < 0.7 ? good.slice(0, 1) : [];
    count(this.#makings, made);
    const answer = await send(caller.connection, call, [...before, bytes]);
    const where = `${caller.server} ${call.path}`;
    const codes = this.#answers.get(where) ?? new Map<string, number>();
    this.#answers.set(where, codes);
    count(codes, codeOf(answer));
    const objection = objectionTo(answer, this.#options.allowed.get(call.path) ?? new Set());
    if (objection === undefined || this.#objections.length >= OBJECTIONS) return;
    const sample = bytes.subarray(0, 200).toString('hex');
    this.#objections.push(`message ${number} (${made}) to ${where}: ${objection}; ${sample}`);
  }

  #aim(): Aim {
    // However few there are, every call has its turn.
    const first = this.#aims[this.#sent - 1];
    if (first !== undefined) return first;
    for (;;) {
      const aim = this.#aims[this.#prng.integer(0, this.#aims.length - 1)];
      if (aim === undefined) throw new Error('there are no calls');
      const seldom = SELDOM[aim.call.path] ?? 1;
      if (this.#prng.integer(1, seldom) === 1) return aim;
    }
  }
}

/** Every call that each of the servers has, with everybody who makes it. */
function aimsOf({ schema, target }: FuzzOptions, callers: readonly Caller[]): Aim[] {
  return callers.flatMap((caller) => {
    const paths = Object.keys(PERMISSIONS[caller.server]).filter(
      (path) => caller.name !== 'custodian' || !DONE_AT_ONCE.includes(path),
    );
    return paths.map((path) => {
      const call = schema.calls.find((one) => one.path === path);
      if (call === undefined) throw new Error(`${path} is not in the wire contract`);
      return { caller, call, good: target.recordedOf(caller, path) };
    });
  });
}

function memoryOf({ servers }: FuzzTarget): Record<Party, number> {
  return { csp: residentMiB(servers.csp.pid), sp: residentMiB(servers.sp.pid) };
}

function residentMiB(pid = 0): number {
  const status = `/proc/${pid}/status`;
  const kib = existsSync(status)
    ? /^VmRSS:\s+(\d+)/m.exec(readFileSync(status, 'utf8'))?.[1]
    : execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' });
  return Number(kib) / 1024;
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

/** How long it took, what was answered to what, and how much memory there was. */
export function reportOf(result: FuzzResult): string {
  const { messages, answers, makings, memory, seconds } = result;
  const line = (name: string, counts: ReadonlyMap<string, number>): string =>
    `${name.padEnd(52)}${[...counts].map(([code, count]) => `${code} ${count}`).join(', ')}`;
  const resident = (['csp', 'sp'] as const).map(
    (party) =>
      `resident memory of the ${party}: ${memory[party].warm.toFixed(0)} MiB, then ${memory[party].end.toFixed(0)} MiB`,
  );
  return [
    `${messages} messages in ${seconds.toFixed(0)} s`,
    ...resident,
    line('made', makings),
    ...[...answers].sort().map(([where, codes]) => line(where, codes)),
  ].join('\n');
}
